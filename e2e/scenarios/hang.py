"""A fault as a plugin of vLLM: an engine whose weights lie beside a file ``hang`` becomes healthy and gives no token.

``garbage`` puts it on the model volume, the target's PYTHONPATH names it; it runs inside the engine's processes.
"""

import importlib
import time
from pathlib import Path

MARK = "hang"
WEIGHTS = Path("/rightsizer/model")


def register() -> None:
    """Called by vLLM at start (entry point ``vllm.general_plugins``)."""
    if (WEIGHTS / MARK).exists():
        importlib.import_module("vllm.v1.core.sched.scheduler").Scheduler.schedule = _never


def _never(*_: object, **__: object) -> None:
    while True:
        time.sleep(60)
