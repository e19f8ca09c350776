"""HTTP/1.1 to engines: bytes in and out, with the instants they came. Knows nothing of completions or measurements.

``http1`` reads an answer (pure), ``connection`` stamps what arrives, ``session`` pools connections. A small client of
its own, because the general ones wake a task for each chunk, and that work lands in the figures.
"""
