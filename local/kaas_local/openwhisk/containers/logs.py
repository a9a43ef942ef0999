"""A process's two streams, read as they come, and the part of them that is one activation's log."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import json
import os
import struct
import termios
import time
from collections import deque
from typing import Protocol

#: Ends an activation's log on each stream of a process that runs several at a time.
_SENTINEL = b"XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"

#: A read of blank lines takes some 2 us for each byte, and nobody is served meanwhile.
_CHUNK_BYTES = 1 << 13
#: A longer line becomes several.
_LINE_BYTES = 1 << 14

#: Made once: `json.dumps` would make one for every line.
_to_json = json.JSONEncoder(ensure_ascii=False).encode


class Sink(Protocol):
    """Takes what a process writes."""

    @property
    def is_full(self) -> bool:
        """Whether it would drop what comes: then it need not be made lines."""

    def add(self, stream: str, line: bytes) -> None:
        """A line that was read just now, without its end."""


class Log:
    """Lines of one activation, in OpenWhisk's format, up to a limit; with 0 there is none.

    A line counts as what it takes in the record, which is JSON: a blank one some 40 bytes, a NUL in it 6.
    """

    def __init__(self, limit_mb: int) -> None:
        self._limit = limit_mb << 20
        self._left = self._limit
        self._lines: list[str] = []

    @property
    def is_full(self) -> bool:
        """See Sink."""
        return self._limit == 0 or self._left < 0

    def add(self, stream: str, line: bytes) -> None:
        """See Sink; the first line that is over the limit says so, and ends the log."""
        if self.is_full:
            return
        now = _now()
        text = f"{now} {stream}: {line.decode(errors='replace')}"
        self._left -= len(_to_json(text).encode()) + 1
        if self._left < 0:
            over = f"Logs were truncated because the total bytes size exceeds the limit of {self._limit} bytes."
            text = f"{now} stderr: {over}"
        self._lines.append(text)

    def lines(self) -> tuple[str, ...]:
        """What it holds."""
        return tuple(self._lines)

    def merged(self, other: Log) -> Log:
        """Both as one, in the order of the times that the lines begin with."""
        both = Log(self._limit >> 20)
        both._left = min(self._left, other._left)
        both._lines = sorted([*self._lines, *other._lines], key=lambda line: line[:30])
        return both


class Streams:
    """Reads both pipes in the running event loop, whether or not anybody wants what comes: nobody is ever blocked."""

    def __init__(self, stdout: int, stderr: int, sink: Sink) -> None:
        """`sink` may be replaced."""
        self.sink = sink
        self._partial = {stdout: b"", stderr: b""}
        self._names = {stdout: "stdout", stderr: "stderr"}
        loop = asyncio.get_running_loop()
        for descriptor in (stdout, stderr):
            os.set_blocking(descriptor, False)
            loop.add_reader(descriptor, self._read, descriptor, _CHUNK_BYTES)

    def drain(self) -> None:
        """Take what has been written until now, unfinished lines included."""
        for descriptor, name in self._names.items():
            if descriptor not in self._partial:
                continue
            waiting = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0]
            while waiting > 0 and (count := self._read(descriptor, min(waiting, _CHUNK_BYTES))):
                waiting -= count
            if rest := self._partial.get(descriptor):
                self._partial[descriptor] = b""
                self.sink.add(name, rest)

    def close(self) -> None:
        """Take what is left, and close both pipes."""
        self.drain()
        for descriptor in list(self._partial):
            self._end(descriptor)

    def _read(self, descriptor: int, count: int) -> int:
        try:
            data = os.read(descriptor, count)
        except BlockingIOError:
            return 0
        if not data:
            self._end(descriptor)
            return 0
        if self.sink.is_full:
            self._partial[descriptor] = b""
            return len(data)
        name = self._names[descriptor]
        *lines, partial = (self._partial[descriptor] + data).split(b"\n")
        for line in lines:
            self._take_pieces(name, line)
        self._partial[descriptor] = self._take_pieces(name, partial, keep=True)
        return len(data)

    def _take_pieces(self, name: str, line: bytes, *, keep: bool = False) -> bytes:
        """Take a line, in pieces if it is long; with `keep`, its end is yet to come, and is returned."""
        while len(line) > _LINE_BYTES:
            cut = _LINE_BYTES
            while cut > _LINE_BYTES - 4 and line[cut] & 0xC0 == 0x80:  # Inside a character.
                cut -= 1
            self.sink.add(name, line[:cut])
            line = line[cut:]
        if keep:
            return line
        self.sink.add(name, line)
        return b""

    def _end(self, descriptor: int) -> None:
        if rest := self._partial.pop(descriptor):
            self.sink.add(self._names[descriptor], rest)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


class Sections:
    """Tells apart the logs of activations that overlap in one process.

    The action proxy writes each log in one piece per stream, in the same order on both, with a sentinel after it; the
    last line on stdout is a summary that names the activation. After a failed `/init` there is none.
    """

    def __init__(self, limit_mb: int) -> None:
        self._limit_mb = limit_mb
        self._open = {"stdout": Log(limit_mb), "stderr": Log(limit_mb)}
        self._closed: dict[str, deque[tuple[str | None, Log]]] = {"stdout": deque(), "stderr": deque()}
        self._last = b""
        self._ready: dict[str | None, Log] = {}

    @property
    def is_full(self) -> bool:
        """Never: the sentinels must be seen."""
        return False

    def add(self, stream: str, line: bytes) -> None:
        """See Sink."""
        if line != _SENTINEL:
            self._open[stream].add(stream, line)
            if stream == "stdout":
                self._last = line
            return
        activation = _activation_of(self._last) if stream == "stdout" else None
        self._closed[stream].append((activation, self._open[stream]))
        self._open[stream] = Log(self._limit_mb)
        self._last = b"" if stream == "stdout" else self._last
        while self._closed["stdout"] and self._closed["stderr"]:
            activation, out = self._closed["stdout"].popleft()
            _, err = self._closed["stderr"].popleft()
            self._ready[activation] = out.merged(err)

    def take(self, activation: str) -> Log:
        """An activation's log, or else those that name none, or else those that nothing has ended."""
        for name in (activation, None):
            if name in self._ready:
                return self._ready.pop(name)
        return self._open["stdout"].merged(self._open["stderr"])


def _activation_of(line: bytes) -> str | None:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        found = json.loads(line)["kaas"]["activation"]["activation_id"]
        return found if isinstance(found, str) else None
    return None


def _now() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second(seconds)}.{nanoseconds:09d}Z"


@functools.lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    # Of many lines few begin another second, and spelling it takes about as long as all else about a line.
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
