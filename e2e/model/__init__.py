"""A small, really trained language model with its question set: what the demo and the scenarios serve, compress and
judge.

``python -m e2e.model volume`` lays out a model volume, ``python -m e2e.model train`` trains the shipped base again.
``world`` and ``questions`` are pure Python; ``train``, ``grow`` and ``damage`` need torch and run inside the compress
environment.
"""
