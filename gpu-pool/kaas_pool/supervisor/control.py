"""The supervisor's end of the link to the front: requests in, answers out, never waiting for a front that is slow."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator, Sequence

from kaas_pool.frames import Frame, Link, LinkClosed


class Control:
    """One front's link. Descriptors that are sent are closed here once they are on their way, or never will be."""

    def __init__(self, link: Link) -> None:
        link.sock.setblocking(False)
        self._link = link
        self._queue: deque[tuple[Frame, Sequence[int]]] = deque()
        self.closed = False

    def fileno(self) -> int:
        """The link's descriptor, for selectors."""
        return self._link.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Whether frames wait for room in the socket's buffer."""
        return bool(self._queue)

    def send(self, frame: Frame, descriptors: Sequence[int] = ()) -> None:
        """Send or queue a frame and give its descriptors away."""
        self._queue.append((frame, descriptors))
        self.flush()

    def flush(self) -> None:
        """Send what the buffer takes."""
        while self._queue and not self.closed:
            frame, descriptors = self._queue[0]
            try:
                self._link.send(frame, descriptors)
            except BlockingIOError:
                return
            except LinkClosed:
                self._end()
                return
            self._queue.popleft()
            _close_all(descriptors)
        if self.closed:
            self._end()

    def receive(self) -> Iterator[Frame]:
        """The frames that have arrived; ends early, with `closed` set, at the end of the connection."""
        while not self.closed:
            try:
                frame, descriptors = self._link.receive()
            except BlockingIOError:
                return
            except LinkClosed:
                self._end()
                return
            _close_all(descriptors)
            yield frame

    def refuse(self) -> None:
        """Take and send nothing more: the front broke the protocol."""
        self._end()

    def close(self) -> None:
        """Close the link; until then its descriptor stays valid for the selector, even if the connection has ended."""
        self._end()
        self._link.close()

    def _end(self) -> None:
        self.closed = True
        while self._queue:
            _close_all(self._queue.popleft()[1])


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
