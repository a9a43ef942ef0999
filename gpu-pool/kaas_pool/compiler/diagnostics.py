"""A compiler's messages as the author should see them: about the author's files, by the bundle's names.

Both compilers are read: g++ (`file:line:column: error: text`) and NVRTC (`file(line): error: text`). Whatever they
print of other files, be it a line of source or a path, stays out: a `#include` may name any file of the machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

MAX_LINES = 60

_GCC = re.compile(r"(?P<file>[^\s:][^:\n]*):(?P<line>\d+):(?:(?P<column>\d+):)? (?P<text>.*)")
_NVRTC = re.compile(r"(?P<file>[^\s(][^(\n]*)\((?P<line>\d+)\): (?P<text>.*)")
_CONTEXT = re.compile(r"(?P<lead>In file included from |\s+from |)(?P<file>[^\s:][^:\n]*):(?P<rest>.*)")
_PATH = re.compile(r"(?<![\w.])/(?:[\w.+@-]+/)*(?P<name>[\w.+@-]+)")
_ERROR = re.compile(r"(?P<where>\S+:\d+(?::\d+)?): (?:fatal )?error: (?P<text>.*)")
#: `saxpy.cu: In function ...:`, which the place of the error says better.
_SCOPE = re.compile(r"\S+: (?:In|At) .*:")
_SUMMARY = re.compile(r"(compilation terminated\.|\d+ errors? detected in the compilation of .*|Remark: .*)")


class Diagnostics:
    """Rewrites messages. `root` is the folder the bundle lies in, `files` the author's files by their names there."""

    def __init__(self, root: str, files: Mapping[str, bytes]) -> None:
        self._root = root.rstrip("/") + "/"
        self._files = files

    def lines(self, text: str) -> list[str]:
        """The messages of `text`, at most `MAX_LINES` of them."""
        kept: list[str] = []
        about_author = False
        for line in text.splitlines():
            if not line.strip() or _SUMMARY.fullmatch(line.strip()):
                continue
            found = _GCC.fullmatch(line) or _NVRTC.fullmatch(line)
            if found is not None:
                name, about_author = self._name(found["file"])
                column = found.groupdict().get("column")
                place = ":".join(filter(None, (name, found["line"], column)))
                kept.append(f"{place}: {self.scrub(found['text'])}")
            elif line[0] in " |" and not line.lstrip().startswith("from "):
                # A line of source, or the caret below one.
                if about_author:
                    kept.append(line)
            elif (context := _CONTEXT.fullmatch(line)) is not None:
                name, about_author = self._name(context["file"])
                kept.append(f"{context['lead']}{name}:{self.scrub(context['rest'])}")
            else:
                about_author = False
                kept.append(self.scrub(line))
        if len(kept) > MAX_LINES:
            kept[MAX_LINES - 1 :] = [f"... and {len(kept) - MAX_LINES + 1} more lines"]
        return kept

    def scrub(self, text: str) -> str:
        """`text` without the paths of this machine; those that the author wrote may stay."""
        return _PATH.sub(self._shortened, text.replace(self._root, ""))

    def _shortened(self, path: re.Match[str]) -> str:
        written = any(path[0].encode() in content for content in self._files.values())
        return path[0] if written else path["name"]

    def _name(self, path: str) -> tuple[str, bool]:
        """The name to print for a file, and whether it is the author's."""
        relative = path.removeprefix(self._root).removeprefix("./")
        if relative in self._files:
            return relative, True
        return PurePosixPath(path).name, False


def first_error(lines: list[str]) -> tuple[str | None, str]:
    """Where the first error is (`saxpy.cu:7:12`) and what it says; without one, the first line."""
    for line in lines:
        if (found := _ERROR.fullmatch(line)) is not None:
            return found["where"], found["text"]
    return None, lines[0] if lines else "the compiler failed without a message"


def from_first_error(lines: list[str]) -> list[str]:
    """The lines for a message that stands beside the place of its first error: that begins, and does not repeat it."""
    for at, line in enumerate(lines):
        if (found := _ERROR.fullmatch(line)) is not None:
            before = [other for other in lines[:at] if not _SCOPE.fullmatch(other)]
            return [found["text"], *lines[at + 1 :], *before]
    return lines
