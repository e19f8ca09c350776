"""Pure arithmetic on what was measured: verdicts, fewest accelerators, cost, proof of minimality. ``phases`` and the
CLI call it.

No clock, no I/O, no randomness: a restart computes the same figures from the same trials.
"""
