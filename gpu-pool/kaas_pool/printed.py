"""What an invocation's kernels printed, on its way into the invocation's log. Pure.

The executor collects the bytes and sends them as text; whoever shows them makes lines of it that can do no harm to a
terminal or a log: control characters are written as escapes, what is not UTF-8 as U+FFFD.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kaas.messages import LogLine

#: What one invocation's log takes of it. Lines have a limit of their own: each costs some 80 bytes of JSON.
MAX_BYTES = 64 << 10
MAX_LINES = 4096

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
    lines = text.removesuffix("\n").split("\n", MAX_LINES)
    if len(lines) > MAX_LINES:
        left_out += len(lines.pop().encode(errors="replace"))
    found = [LogLine.at(time, "stdout", _harmless(line.removesuffix("\r"))) for line in lines]
    if left_out:
        found.append(
            LogLine.at(
                time,
                "stderr",
                f"kaas: the kernels printed more: at least {left_out} bytes are left out "
                f"(a log takes {MAX_BYTES >> 10} KiB and {MAX_LINES} lines of it)",
            )
        )
    return tuple(found)


def _harmless(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(
        one if one.isprintable() or one == "\t" else one.encode("unicode_escape").decode("ascii") for one in line
    )
