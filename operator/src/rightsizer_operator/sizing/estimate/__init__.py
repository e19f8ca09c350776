"""What a candidate would do, computed instead of measured: memory, step times, and a run of an engine's
batching rules.

``rightsizer plan`` and ``rightsizer estimate`` call it; everything it returns is of evidence class ``Estimated``. Pure:
configurations and tables in, figures out; no clock, no cluster, no accelerator. Method and accuracy: docs/estimator.md.
"""
