"""`rename`: a call's arguments under the names that the action has for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kaas._sections import RESERVED
from kaas.dtypes import shorten
from kaas.errors import CallerError
from kaas.manifest import Buffer, Param
from kaas.suggest import advise

MAX_RENAMES = 256
_MAX_NAME = 256

#: Makes the error for a message and a hint at an incoming name, or at the whole where that is None.
Refuse = Callable[[str | None, str, str | None], CallerError]


def check_renames(
    renames: Mapping[str, Any], params: Mapping[str, Param], buffers: Mapping[str, Buffer], refuse: Refuse
) -> dict[str, str]:
    """The map from incoming names to buffers and parameters that a call can give; raises what `refuse` makes."""
    if len(renames) > MAX_RENAMES:
        raise refuse(None, f"{len(renames)} names; at most {MAX_RENAMES} are renamed", None)
    targets = [*params, *(name for name, buffer in buffers.items() if buffer.io != "temp" and not buffer.is_fixed)]
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for incoming, target in renames.items():
        if not incoming or len(incoming) > _MAX_NAME:
            raise refuse(incoming, f"an argument's name has 1 to {_MAX_NAME} characters", None)
        if incoming in RESERVED or incoming.startswith("_"):
            raise refuse(incoming, f"{incoming!r} means something else in every call, and cannot be renamed", None)
        if not isinstance(target, str) or target not in targets:
            problem = f"{shorten(target)} is no buffer or parameter of the action"
            if isinstance(target, str) and target in buffers:
                problem = f"{target!r} is never given by a call"
            hint = advise(target, targets, "it can become") if isinstance(target, str) else "write {incoming: x}"
            if incoming in targets and isinstance(target, str) and target not in buffers:
                hint = f"the name that comes in stands first: {{{shorten(target)}: {incoming!r}}}"
            raise refuse(incoming, problem, hint)
        if target in taken:
            raise refuse(
                incoming, f"{taken[target]!r} and {incoming!r} both become {target!r}", "only one of them can be meant"
            )
        found[incoming] = target
        taken[target] = incoming
    return found


def merged(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """Both maps in one; where they speak of the same incoming name or the same target, `second` holds."""
    targets = set(second.values())
    return {**{incoming: target for incoming, target in first.items() if target not in targets}, **second}


def renamed(arguments: Mapping[str, Any], renames: Mapping[str, str]) -> dict[str, Any]:
    """The arguments under their new names, all renamed at once; a renamed one wins over the target's own value."""
    return {
        **{name: value for name, value in arguments.items() if name not in renames},
        **{target: arguments[incoming] for incoming, target in renames.items() if incoming in arguments},
    }
