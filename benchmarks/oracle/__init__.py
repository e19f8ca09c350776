"""A model of a serving engine on virtual time: the oracle of the capacity search. No benchmark itself.

``engine``: continuous batching, step by step. ``demand``: who asks, when, for how much. ``cases``: engine, demand and
SLO together. ``trial``: the real search over the model. ``truth``: what it should have found.
Used by the benchmarks and by tests; independent of the operator's estimator, so that the one can check the other.
"""
