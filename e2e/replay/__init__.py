"""GPUs replayed: recorded latencies of vLLM and TensorRT-LLM answer where there is no GPU.

``recordings`` reads the table, ``law`` says how long requests take, ``virtual`` runs loads against the law without a
clock, ``exhaustive`` finds the best plan so; ``command`` and ``server`` are the engine over HTTP. Standard library
only: the image holds nothing else. Nothing made here is a measurement of a GPU, and everything says so.
"""
