"""Free ports of this machine, each for one stack alone: of several that start at one moment, no two choose the same."""

from __future__ import annotations

import socket


def take(port: int) -> bool:
    """Whether a port is free and now this process's, as far as other stacks are concerned, for as long as it lives.

    Between the choice of a port and its use lie seconds, in which it has to look free to the program that it is for.
    So what is taken is a name beside it, in the abstract namespace, which is as wide as that of ports and which the
    kernel cleans up.
    """
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0kaas-port-{port}")
    except OSError:
        name.close()
        return False
    name.detach()  # Open for life.
    return True
