"""Quality on a JSONL multiple-choice set: read the questions, ask them, keep the correctness of each in order.

Called by ``trial``.
"""
