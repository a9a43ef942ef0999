"""The compiler's messages as the author of a source should read them: about the author's lines, in the author's words.

Other files of this machine, its directories and the device language's own headers stay out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kaas_emulator import device_source, sources
from kaas_emulator.refusals import Refusal, explain

_MESSAGE = re.compile(
    r"(?P<file>[^:\n]+):(?P<line>\d+): (?P<kind>(?:fatal )?(?:error|Error)|warning|note): (?P<text>.*)"
)
#: From where a file is included, or a template used: `from a.cu:3,` and `a.cu:3:   required from here`.
_ORIGIN = re.compile(r"(?:In file included from|\s+from) (?P<file>[^:\n]+):(?P<line>\d+)|"
                     r"(?P<user>[^:\s][^:\n]*):(?P<at>\d+):\s+required from")  # fmt: skip
_NOISE = re.compile(r"compilation terminated|collect2: |.*: In (?:static )?(?:member )?function|.*: At global scope"
                    r"|.*: In (?:instantiation|substitution) of|.*: Assembler messages|\s+from <command")  # fmt: skip
_LINKER = re.compile(r"^\S*/ld(?:\.\w+)?: ")
#: Messages about the image's table are about a kernel's name; the first of each says what is wrong.
_TABLE = re.compile(rf"{device_source.KERNEL_MARK}(?P<name>[^:\n]+(?:::[^:\n]+)*):1: (?P<text>.*)")
_ASSERTION = re.compile(r"static assertion failed: (?P<text>.*)")
#: Advice that names what the author never wrote.
_SUGGESTION = re.compile(r"; did you mean '(?:\w+::)*(?:kaas_|__)\w*'\?")


@dataclass(frozen=True)
class _Entry:
    text: str
    place: str = ""  # file:line, where it has one
    explained: bool = False
    about_table: bool = False


def readable(log: str, workdir: Path) -> str:
    """The messages of a compiler that ran in ``workdir``, each with the line of the author's that it is about."""
    entries: list[_Entry] = []
    origin = ""
    for line in log.replace(f"{workdir}{os.sep}", "").splitlines():
        found = _ORIGIN.match(line)
        if found is not None:
            file = found["file"] or found["user"]
            if file.startswith(device_source.KERNEL_MARK):
                origin = file
            elif not file.startswith("/"):
                origin = f"{file}:{found['line'] or found['at']}"
            continue
        table = _TABLE.match(line)
        if table is not None:
            entries.append(_Entry(f"kernel {table['name']}: {table['text']}", about_table=True))
            continue
        message = _MESSAGE.match(line)
        if message is None:
            if not _NOISE.match(line) and line.strip() and not _is_ours(line):
                entries.append(_Entry(_LINKER.sub("", line)))
            continue
        place = f"{message['file']}:{message['line']}"
        if message["file"].startswith("/"):
            # Of another file only its errors matter, and where the author's own calls for it.
            if "rror" not in message["kind"]:
                continue
            if origin.startswith(device_source.KERNEL_MARK):
                entries.append(_Entry(f"{origin}: error: {_of_assertion(message['text'])}", about_table=True))
                continue
            place = origin or f"{Path(message['file']).name}:{message['line']}"
        else:
            origin = ""
        entries.append(_entry(place, message["kind"].lower(), message["text"]))
    return "\n".join(_with_lines(_chosen(entries), workdir))


def refused(refusals: Iterable[Refusal], workdir: Path) -> str:
    """The same for what was found in a source before any compiler ran; empty where nothing was."""
    entries = [_Entry(f"{one.file}:{one.line}: error: {one.reason}", f"{one.file}:{one.line}") for one in refusals]
    return "\n".join(_with_lines(entries, workdir))


def _is_ours(line: str) -> bool:
    return str(sources.include_directory()) in line or f"from {device_source.PREFIX}" in line


def _of_assertion(text: str) -> str:
    asserted = _ASSERTION.match(text)
    return asserted["text"] if asserted is not None else text


def _entry(place: str, kind: str, text: str) -> _Entry:
    reason = explain(text)
    if reason is not None:
        return _Entry(f"{place}: error: {reason}", place, explained=True)
    return _Entry(f"{place}: {kind}: {_SUGGESTION.sub('', _of_assertion(text))}", place)


def _chosen(entries: list[_Entry]) -> list[_Entry]:
    """Without what only follows: where something of CUDA's is missing, the rest is about nothing else."""
    if any(entry.explained for entry in entries):
        entries = [entry for entry in entries if entry.explained]
    elif any(entry.place for entry in entries):
        entries = [entry for entry in entries if not entry.about_table]
    once: dict[str, _Entry] = {}
    for entry in entries:
        key = entry.text.partition(": ")[0] if entry.about_table else entry.text
        once.setdefault(key, entry)
    return list(once.values())


def _with_lines(entries: list[_Entry], workdir: Path) -> list[str]:
    lines: list[str] = []
    for entry in entries:
        lines.append(entry.text)
        file, _, number = entry.place.rpartition(":")
        quoted = _line_of(file, int(number), workdir) if number.isdigit() else None
        if quoted:
            lines.append(f"    {quoted}")
    return lines


def _line_of(name: str, number: int, workdir: Path) -> str | None:
    """A line of a file in the work directory; a message may be about any file of the machine, and those are private."""
    path = (workdir / name).resolve()
    if not path.is_relative_to(workdir.resolve()):
        return None
    try:
        with path.open(errors="replace") as file:
            return next((line.strip() for index, line in enumerate(file, 1) if index == number), None)
    except OSError:
        return None
