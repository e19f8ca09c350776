"""The load client: arrivals -> order -> load -> client -> records -> metrics.

Called by ``trial``; decides nothing about a candidate. ``arrivals``, ``prompts``, ``sse`` and ``metrics`` are pure;
``client`` and ``load`` do the sending, ``crew`` over as many processes (``worker``) as it takes; ``health`` says when
not to be believed.
"""
