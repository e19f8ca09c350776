"""Where the embedded cluster keeps things: the repository, its build folder, the cache of built binaries."""

from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / "build"
MODULES = Path(__file__).resolve().parent / "modules"


def cache(environ: Mapping[str, str]) -> Path:
    """The folder that outlives checkouts: $RIGHTSIZER_CACHE, else rightsizer/ in the user's cache folder."""
    if own := environ.get("RIGHTSIZER_CACHE"):
        return Path(own)
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rightsizer"
