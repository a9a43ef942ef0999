"""The two log streams of the action's container."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from kaas.messages import LogLine

#: OpenWhisk collects an activation's log up to this line, on both streams.
SENTINEL = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"

_STDOUT, _STDERR = 1, 2


class Streams:
    """Whole lines on stdout and stderr; what belongs to one activation stays together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def end_activation(
        self, logs: Iterable[LogLine] = (), *, summary: Mapping[str, Any] | None = None, error: str | None = None
    ) -> None:
        """Write an activation's log, its summary (one line of JSON on stdout), its error, and both sentinels."""
        out, err = _texts(logs, summary, error)
        out.end()
        err.end()
        self._write(out, err)

    def end_call(self, logs: Iterable[LogLine], summary: Mapping[str, Any] | None, error: str | None) -> None:
        """The same where no platform waits for sentinels."""
        self._write(*_texts(logs, summary, error))

    def _write(self, out: _Text, err: _Text) -> None:
        with self._lock:
            _write(_STDOUT, out)
            _write(_STDERR, err)

    def say(self, text: str) -> None:
        """Write a line on both streams, with no sentinel."""
        line = _Text()
        line.add(text)
        with self._lock:
            _write(_STDOUT, line)
            _write(_STDERR, line)


class _Text:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, text: str) -> None:
        for line in text.split("\n"):
            # A kernel that prints the sentinel must not end its log early and spill the rest into the next one.
            self.lines.append(f"> {line}" if line.strip() == SENTINEL else line)

    def end(self) -> None:
        self.lines.append(SENTINEL)


def _texts(logs: Iterable[LogLine], summary: Mapping[str, Any] | None, error: str | None) -> tuple[_Text, _Text]:
    out = _Text()
    err = _Text()
    for line in logs:
        (err if line.stream == "stderr" else out).add(line.line)
    if error is not None:
        err.add(_visible(f"error: {error}"))
    if summary is not None:
        out.add(_visible(json.dumps(summary, ensure_ascii=False, separators=(",", ":"))))
    return out, err


def _visible(text: str) -> str:
    """The text without what hides or turns text around where the log is read; JSON stays what it was."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1] if ord(char) > 0x7F else f"\\u{ord(char):04x}"


def _write(descriptor: int, text: _Text) -> None:
    data = memoryview("".join(f"{line}\n" for line in text.lines).encode(errors="replace"))
    while data:
        data = data[os.write(descriptor, data) :]
