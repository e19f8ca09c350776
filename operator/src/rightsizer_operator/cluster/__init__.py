"""The only room that talks to the API server. ``reconcile``, ``lease`` and ``recorder`` call it; it decides nothing."""
