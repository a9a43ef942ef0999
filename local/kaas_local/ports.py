"""Free ports of this machine, each for one stack alone: of several that start at one moment, no two choose the same."""

from __future__ import annotations

import contextlib
import os
import socket


class Claim:
    """Ports that no other stack takes until this is closed or the process ends."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []

    def add(self, port: int) -> None:
        """Claim one more; raises OSError if it is in use or another's."""
        socket.create_server(("127.0.0.1", port)).close()
        with socket.socket(socket.AF_UNIX) as name:
            name.bind(f"\0kaas-port-{port}")
            self._descriptors.append(name.detach())

    def close(self) -> None:
        """Let others take them."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def take(*ports: int) -> Claim | None:
    """Claim ports that are free, all or none of them; who does not close the claim has them for life.

    Between the choice of a port and its use lie seconds, in which it has to look free to the program that it is for.
    So what is taken is a name beside it, in the abstract namespace, which is as wide as that of ports and which the
    kernel cleans up.
    """
    claim = Claim()
    with contextlib.suppress(OSError):
        for port in ports:
            claim.add(port)
        return claim
    claim.close()
    return None
