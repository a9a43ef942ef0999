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
_ERROR = re.compile(r"(?P<where>\S+:\d+(?::\d+)?): (?:fatal |catastrophic )?error: (?P<text>.*)")
#: The file that a message of a failed include is about, with or without quotes.
_NAME = re.compile(r"[\w./+@-]+")
#: `saxpy.cu: In function ...:`, which the place of the error says better.
_SCOPE = re.compile(r"\S+: (?:In|At) .*:")
_SUMMARY = re.compile(
    r"([Cc]ompilation terminated\.|\d+ (?:catastrophic )?errors? detected in the compilation of .*|Remark: .*)"
)


class Diagnostics:
    """Rewrites messages. `root` is the folder the bundle lies in, `files` the author's files by their names there."""

    def __init__(self, root: str, files: Mapping[str, bytes]) -> None:
        self._root = root.rstrip("/") + "/"
        self.files = files

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

    def include_hint(self, message: str) -> str:
        """What to do about a file that a compiler could not include; `message` names it."""
        written = [word.rpartition("/")[2] for word in _NAME.findall(message)]
        near = [file for file in self.files if file.rpartition("/")[2] in written]
        if near:
            return f'did you mean "{near[0]}"? a file is included by its path from the root or from the including file'
        return (
            "a source can include the bundle's own files and CUDA's and the compiler's headers, nothing else; what is "
            "for the host, such as <vector>, has no place in it"
        )

    def _shortened(self, path: re.Match[str]) -> str:
        written = any(path[0].encode() in content for content in self.files.values())
        return path[0] if written else path["name"]

    def _name(self, path: str) -> tuple[str, bool]:
        """The name to print for a file, and whether it is the author's."""
        relative = path.removeprefix(self._root).removeprefix("./")
        if relative in self.files:
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
