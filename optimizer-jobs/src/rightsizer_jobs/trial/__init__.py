"""One trial: ready, sane, quality, warm-up, saturation, probes, capacity.

Called by ``__main__``; the straight line is in ``run``. ``search`` is pure (which rate next, when to stop); ``steps``
and ``probing`` measure; ``findings`` holds what is known so far.
"""
