"""Images and Python environments of the demo, built on this machine from the project's own Dockerfiles and lock files.

Used by the demo and the scenarios (``images``, ``environments``) and by ``python -m e2e.images``. Needs root, buildah
and debootstrap.
Nothing here starts a container or talks to a cluster; everything lands in the cache, keyed by the digest of what it was
made from.
"""
