"""How an action's process is spoken to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from kaas_local.openwhisk.containers.answers import MAX_RESULT_BYTES, Reply
from kaas_local.openwhisk.parameters import compact

_CHUNK_BYTES = 1 << 16
_CALLS = {"/init": 0, "/run": 1}
_HEADER = struct.Struct(">IQQ")

#: What counts as an end of the process; the process may only have closed its side.
_BROKEN = (OSError, EOFError, asyncio.IncompleteReadError, ValueError, IndexError)


class GoneError(Exception):
    """No reply, and none will come."""


class Channel(Protocol):
    """A way to a process that is about to start."""

    #: To be handed to the process, and closed here when it has it.
    descriptor: int

    @property
    def is_broken(self) -> bool:
        """Whether something came unasked, which might be taken for the next reply, or nothing can come any more."""

    async def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        """Ask for `/init` or `/run`; raises GoneError."""

    def close(self) -> None:
        """Nobody is asked any more."""


class FrameChannel:
    """A socket pair: frames as `launchers` says, one request at a time."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        self.descriptor = theirs.detach()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        #: Of the next reply. The process may have forked, and whatever comes of that holds the socket too.
        self._first_byte: asyncio.Task[bytes] | None = None

    @property
    def is_broken(self) -> bool:
        """See Channel."""
        return self._first_byte is not None and self._first_byte.done()

    async def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        """See Channel."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(sock=self._ours)
            reader, writer = self._streams
            data = compact(body).encode(errors="replace")
            number = secrets.randbits(64)
            writer.write(_HEADER.pack(_CALLS[path], number, len(data)) + data)
            await writer.drain()
            first = await (self._first_byte or _read_byte(reader))
            status, answered, length = _HEADER.unpack(first + await reader.readexactly(_HEADER.size - 1))
            if answered != number:
                raise GoneError
            reply = await _read_reply(reader, status, length)
            self._first_byte = asyncio.create_task(_read_byte(reader))
            return reply
        except _BROKEN as error:
            raise GoneError from error

    def close(self) -> None:
        """See Channel."""
        if self._first_byte is not None:
            self._first_byte.cancel()
        if self._streams is not None:
            self._streams[1].close()
        self._ours.close()


class HttpChannel:
    """A listening socket that nobody else on the machine can reach, and a connection for every request."""

    def __init__(self, path: Path) -> None:
        """`path` becomes the socket."""
        # By way of /proc, because a socket's address has room for 107 bytes, and a directory may be anywhere.
        self._directory = os.open(path.parent, os.O_PATH)
        self._address = f"/proc/self/fd/{self._directory}/{path.name}"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self._address)
        listener.listen(128)
        self.descriptor = listener.detach()

    @property
    def is_broken(self) -> bool:
        """Never: every request has a connection of its own."""
        return False

    async def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        """See Channel."""
        try:
            reader, writer = await asyncio.open_unix_connection(self._address)
            with contextlib.closing(writer):
                data = compact(body).encode(errors="replace")
                head = f"POST {path} HTTP/1.1\r\nHost: action\r\nContent-Type: application/json\r\n"
                writer.write(f"{head}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
                await writer.drain()
                status = int((await reader.readline()).split(b" ")[1])
                length = None
                while (line := await reader.readline()).strip():
                    key, _, value = line.partition(b":")
                    if key.lower() == b"content-length":
                        length = int(value)
                if length is None:
                    raise GoneError
                return await _read_reply(reader, status, length)
        except _BROKEN as error:
            raise GoneError from error

    def close(self) -> None:
        """See Channel."""
        os.close(self._directory)


async def _read_byte(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(1)
    except OSError:
        return b""


async def _read_reply(reader: asyncio.StreamReader, status: int, length: int) -> Reply:
    if length <= MAX_RESULT_BYTES:
        return Reply(status, await reader.readexactly(length), length)
    kept = await reader.readexactly(_CHUNK_BYTES)
    left = length - len(kept)
    while left > 0:
        left -= len(await reader.readexactly(min(left, _CHUNK_BYTES)))
    return Reply(status, kept, length)
