"""The refusal of a kernel that declares more shared memory than a block may have, in one wording and with its line.

Both compilers tell it without a place, and ptxas in hexadecimal and by the mangled name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_PTXAS = re.compile(
    r"Entry function '(?P<name>[\w$.]+)' uses too much shared data \((?P<used>0x[0-9a-f]+) bytes, (?P<most>0x[0-9a-f]+)"
)
_EMULATOR = re.compile(
    r"kernel (?P<name>.+): error: (?P<used>\d+) bytes of static shared memory are more than the (?P<most>\d+)"
)
#: A mangled name outside of namespaces: its length, then itself.
_MANGLED = re.compile(r"_Z(?P<length>\d{1,3})(?P<rest>\w+)")

HINT = "use less, or declare it `extern __shared__` and give its bytes as the step's `shared`"


class SharedExcess(NamedTuple):
    """What is wrong, and where the kernel is declared: `conv.cu:2`, or None if it was not found."""

    message: str
    where: str | None


def shared_excess(log: str, files: Mapping[str, bytes], source: str) -> SharedExcess | None:
    """The first such refusal in a compiler's log; `files` are the author's, of which `source` is looked at first."""
    found = _PTXAS.search(log) or _EMULATOR.search(log)
    if found is None:
        return None
    used, most = int(found["used"], 0), int(found["most"], 0)
    name = _written(found["name"])
    return SharedExcess(
        f"{name} declares {used} bytes of static shared memory; a block may have {most}",
        _place(name.partition("<")[0].rpartition("::")[2], files, source),
    )


def _written(symbol: str) -> str:
    mangled = _MANGLED.fullmatch(symbol)
    return mangled["rest"][: int(mangled["length"])] if mangled is not None else symbol


def _place(kernel: str, files: Mapping[str, bytes], source: str) -> str | None:
    declared = re.compile(rf"__global__\b[^;{{}}]*?\b{re.escape(kernel)}\s*\(")
    for file in sorted(files, key=lambda name: (name != source, name)):
        text = files[file].decode("utf-8", "replace")
        if (found := declared.search(text)) is not None:
            at = text.rindex(kernel, 0, found.end())
            return f"{file}:{text.count(chr(10), 0, at) + 1}"
    return None
