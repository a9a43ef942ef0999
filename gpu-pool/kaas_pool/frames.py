"""Frames between the pool's processes: JSON and descriptors over `SOCK_SEQPACKET` (docs/contracts.md, "Frames").

`Link` is one end of a connection and works on blocking and non-blocking sockets alike; `AsyncLink` drives one from an
asyncio loop. A frame is a dict with a `type`; the version is added and checked here. Received descriptors belong to
the receiver, sent ones stay the sender's.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Frame = dict[str, Any]

_log = logging.getLogger(__name__)

VERSION = 1

#: Above this a frame's body goes into a memfd: Linux's default socket buffer (net.core.wmem_default) is 212,992 bytes.
INLINE_BYTES = 128 * 1024

#: The kernel's own limit on descriptors in one message (SCM_MAX_FD).
MAX_DESCRIPTORS = 253

_MAX_LARGE_BYTES = 64 << 20
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
# A plain number: arithmetic on socket's flags goes through Python's enum, which showed in every frame's cost.
_TRUNCATED = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)
_ANCILLARY_BYTES = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)


_encode = json.JSONEncoder(separators=(",", ":")).encode


class LinkClosed(Exception):
    """The other side is gone, or sent something that is no frame of this version."""


class Link:
    """One end of a `SOCK_SEQPACKET` connection. Not safe for use by several threads at once."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    @staticmethod
    def pair() -> tuple[Link, Link]:
        """Both ends of a new connection."""
        one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return Link(one), Link(two)

    @staticmethod
    def from_descriptor(descriptor: int) -> Link:
        """Take over an inherited or received descriptor."""
        return Link(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """The socket's descriptor, for selectors."""
        return self.sock.fileno()

    def close(self) -> None:
        """Close this end; what the other side has not read yet still arrives there."""
        self.sock.close()

    def send(self, frame: Frame, descriptors: Sequence[int] = ()) -> None:
        """Send one frame.

        Raises LinkClosed when the other side is gone and BlockingIOError when a non-blocking socket's buffer is full.
        """
        body = _encode({"v": VERSION, **frame}).encode()
        if len(body) <= INLINE_BYTES:
            self._send(body, descriptors)
            return
        with _sealed_memory(body) as memory:
            head = json.dumps({"v": VERSION, "type": "large", "size": len(body)}).encode()
            self._send(head, [memory, *descriptors])

    def _send(self, body: bytes, descriptors: Sequence[int]) -> None:
        if len(descriptors) > MAX_DESCRIPTORS:
            raise ValueError(f"{len(descriptors)} descriptors in one frame; the kernel's limit is {MAX_DESCRIPTORS}")
        try:
            if descriptors:
                socket.send_fds(self.sock, [body], list(descriptors), socket.MSG_NOSIGNAL)
            else:
                self.sock.send(body, socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionError) as gone:
            raise LinkClosed(str(gone)) from gone

    def receive(self) -> tuple[Frame, list[int]]:
        """Receive one frame and its descriptors.

        Raises LinkClosed at the end of the connection and BlockingIOError when a non-blocking socket has nothing.
        """
        try:
            body, ancillary, flags, _ = self._receive()
        except ConnectionError:
            # The other side ended without reading all it was sent. The kernel tells that first, once, and then what
            # the other side had said before.
            body, ancillary, flags, _ = self._receive()
        descriptors = _descriptors(ancillary)
        try:
            if not body:
                raise LinkClosed("end of file")
            if flags & _TRUNCATED:
                raise LinkClosed("a frame over its limit")
            frame = _decode(body)
            if frame["type"] == "large":
                frame = _decode(_read_large(descriptors[0], frame.get("size")))
                os.close(descriptors.pop(0))
            return frame, descriptors
        except (LinkClosed, IndexError) as broken:
            for descriptor in descriptors:
                os.close(descriptor)
            if isinstance(broken, LinkClosed):
                raise
            raise LinkClosed("a large frame without its descriptor") from broken

    def _receive(self) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]:
        return self.sock.recvmsg(INLINE_BYTES + 1, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)


def _decode(body: bytes) -> Frame:
    try:
        frame = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise LinkClosed(f"not JSON: {error}") from error
    if not isinstance(frame, dict) or frame.get("v") != VERSION or not isinstance(frame.get("type"), str):
        raise LinkClosed(f"not a frame of version {VERSION}: {body[:80]!r}")
    return frame


def _read_large(memory: int, size: object) -> bytes:
    if not isinstance(size, int) or not 0 < size <= _MAX_LARGE_BYTES or os.fstat(memory).st_size != size:
        raise LinkClosed(f"a large frame of impossible size {size!r}")
    try:
        body = os.pread(memory, size, 0)
    except OSError as error:
        raise LinkClosed(f"a large frame that is no memory: {error.strerror}") from error
    if len(body) != size:
        raise LinkClosed("a large frame that shrank")
    return body


@contextlib.contextmanager
def _sealed_memory(body: bytes) -> Iterator[int]:
    memory = os.memfd_create("kaas-frame", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(memory), "wb") as out:
            out.write(body)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
        yield memory
    finally:
        os.close(memory)


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


class AsyncLink:
    """A `Link` driven by an asyncio loop: callbacks for what arrives, a queue for what the socket cannot take yet.

    `on_frame(frame, descriptors)` runs in the loop and owns the descriptors; if it raises, the link is closed.
    `on_close(reason)` runs once, after the last frame. Queued descriptors are duplicated, so the caller may close its
    own at once.
    """

    def __init__(
        self,
        link: Link,
        on_frame: Callable[[Frame, list[int]], None],
        on_close: Callable[[str], None],
    ) -> None:
        self._link = link
        self._on_frame = on_frame
        self._on_close = on_close
        self._queue: deque[tuple[Frame, list[int]]] = deque()
        import asyncio  # Here, because compilers and executors have no loop, and it would double their time to start.

        self._loop = asyncio.get_running_loop()
        self._closed = False
        link.sock.setblocking(False)
        self._loop.add_reader(link.fileno(), self._readable)

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self._closed

    def send(self, frame: Frame, descriptors: Sequence[int] = ()) -> None:
        """Send or queue one frame; one to a peer that is gone is dropped, as `on_close` tells or has told."""
        if self._closed:
            return
        if not self._queue:
            try:
                self._link.send(frame, descriptors)
                return
            except BlockingIOError:
                self._loop.add_writer(self._link.fileno(), self._writable)
            except LinkClosed:
                return  # What the peer said last is still to be read, and its end after that.
        self._queue.append((frame, [os.dup(descriptor) for descriptor in descriptors]))

    def close(self, reason: str = "closed here") -> None:
        """End the connection; `on_close` is called in the loop's next round, once."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._link.fileno())
        self._loop.remove_writer(self._link.fileno())
        self._link.close()
        for _, descriptors in self._queue:
            for descriptor in descriptors:
                os.close(descriptor)
        self._queue.clear()
        self._loop.call_soon(self._on_close, reason)

    def _readable(self) -> None:
        # A bounded batch, so that one busy peer cannot keep the loop from the others.
        for _ in range(16):
            if self._closed:
                return
            try:
                frame, descriptors = self._link.receive()
            except BlockingIOError:
                return
            except LinkClosed as gone:
                self.close(str(gone))
                return
            try:
                self._on_frame(frame, descriptors)
            except Exception as error:
                # A peer may run other people's code: what it sends must not cost more than its own link.
                _log.exception("a frame of the type %r could not be taken", frame["type"])
                self.close(f"a frame that does not fit: {error!r}")

    def _writable(self) -> None:
        while self._queue and not self._closed:
            frame, descriptors = self._queue[0]
            try:
                self._link.send(frame, descriptors)
            except BlockingIOError:
                return
            except LinkClosed:
                pass  # As in `send`.
            self._queue.popleft()
            for descriptor in descriptors:
                os.close(descriptor)
        if not self._closed:
            self._loop.remove_writer(self._link.fileno())
