"""The load client: arrivals -> load -> client -> records -> metrics.

Called by ``trial``; decides nothing about a candidate. ``arrivals``, ``prompts``, ``sse`` and ``metrics`` are pure;
``client`` and ``load`` do the sending; ``health`` says when not to be believed.
"""
