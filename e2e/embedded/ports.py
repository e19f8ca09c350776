"""Free TCP ports, so that several clusters can run at once. Called by `controlplane` and `node`."""

import socket
from contextlib import ExitStack


def free(count: int, address: str = "127.0.0.1") -> list[int]:
    """`count` different ports that are free on `address` now; somebody else may still take one afterwards."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) for _ in range(count)]
        for one in sockets:
            one.bind((address, 0))
        return [one.getsockname()[1] for one in sockets]
