"""Giving up blocking I/O from another thread."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Cancelled(Exception):
    """The operation was given up before its last step."""


class Cancellation:
    """One operation's token: `cancel` is called from any thread, everything else from the operation's own.

    An operation that has committed can no longer be cancelled: its outcome is about to be visible outside.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._committed = False
        self._socket: socket.socket | None = None

    def cancel(self) -> bool:
        """Give the operation up; False when it has committed. A blocked read or write of it ends at once."""
        with self._lock:
            if self._committed:
                return False
            self._cancelled.set()
            if self._socket is not None:
                # Wakes the thread that is blocked on the socket. Closing it here would race with that thread, and so
                # would SSLSocket.shutdown, which turns the socket into a plain one.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            return True

    def check(self) -> None:
        """Raise Cancelled if `cancel` was called in time."""
        if self._cancelled.is_set():
            raise Cancelled

    def commit(self) -> None:
        """From here on the operation ends by itself; raises Cancelled if it is too late for that."""
        with self._lock:
            self.check()
            self._committed = True

    def sleep(self, seconds: float) -> None:
        """Wait, or raise Cancelled as soon as the operation is cancelled."""
        if self._cancelled.wait(seconds):
            raise Cancelled

    @contextlib.contextmanager
    def interrupting(self, sock: socket.socket | None) -> Iterator[None]:
        """Let `cancel` shut `sock` down while the block runs; an error it causes is raised as Cancelled."""
        with self._lock:
            self.check()
            self._socket = sock
        try:
            yield
        except Exception:
            self.check()
            raise
        finally:
            with self._lock:
                self._socket = None
