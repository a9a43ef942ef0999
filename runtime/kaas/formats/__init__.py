"""The formats of objects, one module each; a format is added by adding its module (see `Format`).

`inline` is the form of values inside calls and results; it has no objects and is not chosen by a key. `safetensors` has
many arrays in one object, and is chosen by a reference that names one of them.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import cast

from kaas.formats import raw
from kaas.formats._layout import Format, Layout

__all__ = ["FORMATS", "HEAD_BYTES", "Format", "Layout", "format_of"]


def _scan() -> dict[str, Format]:
    found: dict[str, Format] = {}
    for entry in pkgutil.iter_modules(__path__):
        if not entry.name.startswith("_"):
            module = import_module(f"{__name__}.{entry.name}")
            if hasattr(module, "SUFFIXES"):
                found[module.NAME] = cast("Format", module)
    return found


#: Format by name.
FORMATS: Mapping[str, Format] = _scan()

#: First bytes of an object that serve every format.
HEAD_BYTES = max(entry.HEAD_BYTES for entry in FORMATS.values())

_BY_SUFFIX = {suffix: entry for entry in FORMATS.values() for suffix in entry.SUFFIXES}
_RAW = cast("Format", raw)


def format_of(key: str) -> Format:
    """The format that a key's ending chooses; raw data for an ending nobody claims."""
    _, dot, ending = key.rpartition(".")
    return _BY_SUFFIX.get(dot + ending.lower(), _RAW)
