"""Compress Jobs: one model in, one artefact on the model volume out. ``run.compress`` is the only entry."""
