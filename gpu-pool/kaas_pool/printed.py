"""What an invocation's kernels printed, on its way into the invocation's log. Pure.

The executor collects the bytes and sends them as text; whoever shows them makes lines of it that can do no harm to a
terminal or a log: control characters are written as escapes, what is not UTF-8 as U+FFFD.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kaas.messages import LogLine

#: What one invocation's log takes of it, as it stands there. Lines have a limit of their own: each costs some 80 bytes
#: of JSON.
MAX_BYTES = 64 << 10
MAX_LINES = 4096

#: Runs of what moves a terminal's cursor, turns its text around, hides in it, or has no meaning: controls but tabs and
#: line feeds, formatting, line separators, surrogates, private use and noncharacters. Matched in one pass, because the
#: front does this between the frames of all tenants.
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\uf8ff\ufdd0-\ufdef"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff]+"
)

_ESCAPES = {one: one.encode("unicode_escape").decode("ascii") for one in map(chr, range(0xA1))}

#: So many characters are escaped at a time: what is over MAX_BYTES then is not looked at at all.
_PART = 4096

_CROWDED = (
    "kaas: what the kernels printed is left out: other invocations computed in the same context meanwhile; "
    "invoke it when nothing else runs there, or use `kaas run`"
)


@dataclass
class Printed:
    """Collects for one invocation that computes."""

    data: bytearray = field(default_factory=bytearray)
    #: Bytes that came beyond MAX_BYTES.
    left_out: int = 0
    #: Others computed meanwhile, so that nobody can tell whose the bytes are.
    crowded: bool = False
    #: There were bytes that nobody gets.
    lost: bool = False

    def add(self, data: bytes) -> None:
        """Bytes came from the context."""
        if self.crowded:
            self.lost = self.lost or bool(data)
            return
        kept = data[: MAX_BYTES - len(self.data)]
        self.data += kept
        self.left_out += len(data) - len(kept)

    def crowd(self) -> None:
        """Another invocation computes beside this one."""
        self.lost = self.lost or bool(self.data)
        self.crowded = True
        self.data.clear()
        self.left_out = 0

    def to_json(self) -> dict[str, Any]:
        """As frames carry it; empty if there is nothing to tell."""
        if self.lost:
            return {"crowded": True}
        if not self.data:
            return {}
        return {"text": self.data.decode(errors="replace"), "left_out": self.left_out}


def printed_lines(printed: Mapping[str, Any], time: float) -> tuple[LogLine, ...]:
    """The log's lines for what `Printed.to_json` gave; `time` is theirs, in seconds since the epoch.

    Raises KeyError, TypeError or ValueError for anything else.
    """
    if printed.get("crowded"):
        return (LogLine.at(time, "stderr", _CROWDED),)
    if not printed:
        return ()
    # An executor runs user code: what it says is not taken to be within the limit.
    text, left_out = str(printed["text"])[:MAX_BYTES], int(printed["left_out"])
    text = text.removesuffix("\n").replace("\r\n", "\n").removesuffix("\r")
    shown, at = b"", 0
    while at < len(text) and len(shown) <= MAX_BYTES:
        shown += harmless(text[at : at + _PART]).encode()
        at += _PART
    left_out += len(shown[MAX_BYTES:]) + len(text[at:])
    lines = shown[:MAX_BYTES].decode(errors="ignore").split("\n", MAX_LINES)
    if len(lines) > MAX_LINES:
        left_out += len(lines.pop().encode())
    first = LogLine.at(time, "stdout", lines[0])
    found = [first, *(LogLine(first.time, "stdout", line) for line in lines[1:])]
    if left_out:
        told = (
            f"kaas: the kernels printed more: at least {left_out} bytes are left out "
            f"(a log takes {MAX_BYTES >> 10} KiB and {MAX_LINES} lines of it, escapes as written)"
        )
        found.append(LogLine(first.time, "stderr", told))
    return tuple(found)


def harmless(text: str) -> str:
    """`text` with escapes for whatever in it a terminal or a log would take for more than text, but tabs and lines."""
    return _HARMFUL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[0]) or found[0].encode("unicode_escape").decode("ascii")
