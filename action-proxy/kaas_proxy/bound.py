"""Whether the arguments that are bound to a Service can be those of a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kaas.call import CONNECTION, Call, own_names
from kaas.errors import CallerError
from kaas.manifest import Manifest
from kaas.suggest import advise
from kaas_proxy.notifications import refuse_under

_WHERE = "KAAS_ARGUMENTS"


def check_bound(manifest: Manifest, arguments: Mapping[str, Any], watched: str | None) -> None:
    """Refuse what every call would be refused for, or would ignore: whoever deploys is told, not every caller.

    Raises CallerError with the variable's name.
    """
    try:
        own = own_names(manifest, arguments)
        # What is not bound comes with each call.
        call = Call.parse(replace(manifest, rename={}), {**_stand_ins(manifest, own), **own}, activation_id="id")
        if manifest.event_input is not None and watched is not None:
            refuse_under(watched, call, "give it another place, or correct KAAS_WATCHED")
    except CallerError as error:
        place = (error.where or "").removeprefix("arguments.")
        raise CallerError(
            error.code, f"no call could have them: {error.message}", where=f"{_WHERE} {place}".rstrip(), hint=error.hint
        ) from None
    unknown = sorted(name for name in call.unknown if name not in CONNECTION)
    if unknown:
        raise CallerError(
            "argument_invalid",
            f"the action has no {unknown[0]!r}",
            where=f"{_WHERE} {unknown[0][:80]}",
            hint=advise(unknown[0], [*manifest.buffers, *manifest.params], "it has"),
        )


def _stand_ins(manifest: Manifest, bound: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for param in manifest.params.values():
        if param.default is None:
            found[param.name] = False if param.dtype.kind == "b" else 0
    for buffer in manifest.buffers.values():
        if buffer.io == "out":
            if "outputs" not in bound:
                found[buffer.name] = "inline"
        elif buffer.io == "inout":
            found[buffer.name] = {"from": 0, "to": "inline"}
        elif buffer.io != "temp" and not buffer.is_fixed:
            found[buffer.name] = 0
    return found
