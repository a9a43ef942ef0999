"""What is to be said of an accepted call: what it gives in vain, what is read otherwise than its name suggests."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from kaas.call import CONNECTION, Call, own_names
from kaas.dtypes import shorten
from kaas.formats import format_of, raw
from kaas.manifest import Manifest
from kaas.references import Reference
from kaas.suggest import near

#: So many unknown arguments are named, and so many are compared with those that the call leaves out.
_NAMED = 8
_COMPARED = 64


def remarks(manifest: Manifest, arguments: Mapping[str, Any], call: Call) -> tuple[str, ...]:
    """One line each, the most likely slip first. `call` is what `arguments` say."""
    found = list(_misspelt(manifest, arguments, call)) if call.unknown else []
    useless = [name for name in call.unknown if name not in CONNECTION and name not in dict(found)]
    lines = [f"{shorten(name)} is no argument of the action; was {meant!r} meant?" for name, meant in found]
    if useless:
        lines.append(f"the action has no use for {', '.join(map(shorten, useless[:_NAMED]))}")
    for name, source in call.reads.items():
        if isinstance(source, Reference) and not source.is_range and _is_odd(source.key):
            lines.append(f"{call.where(name)}: {raw.advice(source.key.rpartition('/')[2])}")
    return tuple(lines)


def _is_odd(key: str) -> bool:
    """Whether a key is read as raw data and has the ending of something else, such as .csv or .png."""
    _, dot, ending = key.rpartition("/")[2].rpartition(".")
    return bool(dot) and format_of(key).NAME == raw.NAME and ending.lower() not in raw.ENDINGS


def _misspelt(manifest: Manifest, arguments: Mapping[str, Any], call: Call) -> list[tuple[str, str]]:
    """The unknown arguments that are near to one that the call leaves out, each with that."""
    given = own_names(manifest, arguments)
    buffers = (buffer.name for buffer in manifest.buffers.values() if buffer.io != "temp" and not buffer.is_fixed)
    absent = [name for name in (*manifest.params, *buffers) if name not in given]
    pairs = ((name, near(name, absent)) for name in call.unknown[:_COMPARED] if name not in CONNECTION)
    return list(islice(((name, meant) for name, meant in pairs if meant is not None), _NAMED))
