"""One module per command, each with ``run(options) -> int``; imported only when asked for."""
