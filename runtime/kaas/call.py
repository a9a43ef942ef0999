"""The arguments of one call, read against the manifest before any object is looked at (docs/manifest.md, "A call")."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

from kaas._rename import check_renames, merged, renamed
from kaas._sections import RESERVED
from kaas.dtypes import TypedScalar, parse_scalar, shorten
from kaas.errors import CallerError
from kaas.freshness import ALWAYS, PINNED, Freshness
from kaas.manifest import ACKS, Ack, Buffer, Manifest, Param
from kaas.references import InlineValue, Reference, output_reference, parse_input
from kaas.suggest import advise, near

_MISSING = object()

#: What actions that use the store are given, best by their package, which gives it to kernel actions too.
CONNECTION = frozenset({"endpoint", "access_key", "secret_key", "session_token", "region", "ca_bundle"})

#: So many of a call's unknown arguments are compared with a missing one.
_COMPARED = 64

#: So many outputs of an earlier result are looked at: an action has no more.
_MOST_VERSIONS = 256

_WHAT = {"in": "the input", "const": "the const input", "inout": "the inout buffer"}


@dataclass(frozen=True)
class InlineOutput:
    """An output that comes back in the result, as nested lists or, `as_base64`, in the base64 form."""

    as_base64: bool = False


@dataclass(frozen=True)
class Call:
    """What a call's arguments say.

    `params` has every parameter, defaults filled in. `reads` says where each input's contents come from, `writes`
    where each output goes; an `inout` buffer is in both. `unknown` are the arguments the action does not have.
    `freshness` has every buffer of `reads` that is a reference. `places` says where a buffer's value stands, for those
    that are not arguments of the same name; see `where`. `versions` has the etags, by whole object, that came with an
    earlier result (the argument `kaas`), and `promised` the versions that had none yet: what the caller says, for the
    pool to believe or not. `ack` says when the call is answered.
    """

    params: Mapping[str, TypedScalar]
    reads: Mapping[str, Reference | InlineValue]
    writes: Mapping[str, Reference | InlineOutput]
    unknown: tuple[str, ...]
    freshness: Mapping[str, Freshness] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    promised: Mapping[str, str] = field(default_factory=dict)
    ack: Ack = "durable"

    @staticmethod
    def parse(
        manifest: Manifest,
        arguments: Mapping[str, Any],
        *,
        activation_id: str,
        outputs_prefix: str | None = None,
    ) -> Call:
        """Read `arguments`.

        An output without a reference goes to `<prefix>/<activation_id>/<buffer>.npy`; the prefix is
        `outputs_prefix`, or the argument `outputs` if that is None. Raises CallerError: `input_missing`,
        `argument_invalid`, `reference_invalid`, `output_unbound` or `not_supported_yet`.
        """
        return _CallReader(manifest, arguments, activation_id, outputs_prefix).read()

    def where(self, name: str) -> str:
        """Where the value of a buffer or parameter stands, for an error's `where`."""
        return self.places.get(name) or f"arguments.{name}"

    @property
    def objects(self) -> dict[str, Reference]:
        """The whole objects that binding needs to know about, by `Reference.object_id`."""
        return {ref.object_id: ref.whole() for ref in self.reads.values() if isinstance(ref, Reference)}


def own_names(manifest: Manifest, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call under the action's own names, as its and the manifest's `rename` make them.

    Raises CallerError `argument_invalid`.
    """
    own = renamed(arguments, _renames(manifest, arguments))
    own.pop("rename", None)
    return own


class _CallReader:
    def __init__(
        self, manifest: Manifest, arguments: Mapping[str, Any], activation_id: str, outputs_prefix: str | None
    ) -> None:
        self.manifest = manifest
        renames = _renames(manifest, arguments)
        self.arguments = renamed(arguments, renames) if renames else arguments
        self.activation_id = activation_id
        self.outputs_prefix = outputs_prefix
        self.reads: dict[str, Reference | InlineValue] = {}
        self.writes: dict[str, Reference | InlineOutput] = {}
        self.renames = renames
        self.places = {target: f"arguments.{incoming}" for incoming, target in renames.items() if incoming in arguments}

    def read(self) -> Call:
        """The call."""
        manifest, arguments = self.manifest, self.arguments
        unknown = tuple(
            name
            for name in arguments
            if name not in manifest.params
            and name not in RESERVED
            and not name.startswith("_")
            and (name not in manifest.buffers or manifest.buffers[name].io == "temp")
        )
        if arguments.get("store") is not None:
            raise CallerError(
                "not_supported_yet",
                f"'store' is part of a call, but this release does not run it with {shorten(arguments['store'])} yet",
                where="arguments.store",
                hint="leave it out",
            )
        params = {name: self._param(param, unknown) for name, param in manifest.params.items()}
        for buffer in manifest.buffers.values():
            if buffer.io == "out":
                self._output(buffer, arguments.get(buffer.name), unknown)
            elif buffer.is_fixed:
                self._refuse_fixed(buffer)
                if buffer.reference is not None:
                    self.reads[buffer.name] = buffer.reference
                    self.places[buffer.name] = buffer.from_where
            elif buffer.io != "temp":
                if buffer.name not in arguments:
                    raise self._input_missing(buffer.name, _WHAT[buffer.io], unknown)
                if buffer.io == "inout":
                    self._inout(buffer, arguments[buffer.name], unknown)
                else:
                    self.reads[buffer.name] = parse_input(arguments[buffer.name], self._where(buffer.name))
        if len(self.writes) > 1:
            self._refuse_shared_targets()
        ack = self._ack()
        versions, promised = _versions(arguments.get("kaas"))
        return Call(params, self.reads, self.writes, unknown, self._freshness(), self.places, versions, promised, ack)

    def _where(self, name: str) -> str:
        return self.places.get(name) or f"arguments.{name}"

    def _param(self, param: Param, unknown: tuple[str, ...]) -> TypedScalar:
        value = self.arguments.get(param.name, _MISSING)
        if value is _MISSING:
            if param.default is None:
                raise self._input_missing(param.name, f"the {param.dtype.name} parameter", unknown)
            return param.default
        try:
            return parse_scalar(param.dtype, value)
        except ValueError as reason:
            raise CallerError(
                "argument_invalid",
                f"parameter {param.name!r} is {param.dtype.name}: {reason}",
                where=self._where(param.name),
                hint=_number_hint(value) if isinstance(value, str) else None,
            ) from None

    def _input_missing(self, name: str, what: str, unknown: tuple[str, ...]) -> CallerError:
        is_param = name in self.manifest.params
        hint = f"give a {'value' if is_param else 'reference'} as argument {name!r}"
        strange = [key for key in unknown if key not in CONNECTION]
        if not is_param and strange == ["Records"]:
            # What object stores send of an object that was stored.
            hint = f"a notification is an input where the manifest says which: `events: {{input: {name}}}`"
        elif meant := _near(name, strange):
            hint = f"the call also has {meant}; was {name!r} meant?"
        elif strange:
            fits = _is_scalar if is_param else _is_array
            fitting = next((key for key in strange if fits(self.arguments[key])), None)
            hint = f"the call also has {_quoted(strange)}, which the action does not know; {hint}, or " + (
                "put the actions of a sequence into the order in which they make what the next one takes"
                if fitting is None
                else f'rename one of them, such as "rename": {{{json.dumps(fitting[:60])}: "{name}"}}'
            )
        return CallerError("input_missing", f"{what} {name!r} is not given", where=f"arguments.{name}", hint=hint)

    def _refuse_fixed(self, buffer: Buffer) -> None:
        if buffer.name in self.arguments:
            raise CallerError(
                "argument_invalid",
                f"{buffer.name!r} is fixed by the action to {buffer.reference or f'its file {buffer.content!r}'}",
                where=f"arguments.{buffer.name}",
                hint="leave it out; an action without 'from' lets the caller bind a const",
            )

    def _output(self, buffer: Buffer, value: object, unknown: tuple[str, ...]) -> None:
        where = self._where(buffer.name)
        if value is None:
            self.writes[buffer.name] = self._default_target(buffer.name, where, unknown)
        elif value == "inline":
            self.writes[buffer.name] = InlineOutput()
        elif value == "base64":
            self.writes[buffer.name] = InlineOutput(as_base64=True)
        elif isinstance(value, str) and "://" in value:
            self.writes[buffer.name] = output_reference(value, where)
        else:
            raise CallerError(
                "argument_invalid",
                f"{shorten(value)} is no place for an output",
                where=where,
                hint='an output goes to a reference such as s3://bucket/key, or comes back: "inline" or "base64"',
            )

    def _inout(self, buffer: Buffer, value: object, unknown: tuple[str, ...]) -> None:
        where = self._where(buffer.name)
        if isinstance(value, dict) and "base64" not in value:
            if "from" not in value or set(value) - {"from", "to"}:
                raise CallerError(
                    "argument_invalid",
                    f"{shorten(value)} is no value of an inout buffer",
                    where=where,
                    hint='a reference (changed in place), or {"from": ..., "to": ...}',
                )
            self.reads[buffer.name] = parse_input(value["from"], f"{where}.from")
            self._output(buffer, value.get("to"), unknown)
            return
        source = parse_input(value, where)
        if not isinstance(source, Reference) or source.is_range or source.version is not None:
            raise CallerError(
                "argument_invalid",
                f"{shorten(value)} cannot be changed in place: only a whole object can",
                where=where,
                hint='say where the result goes: {"from": ..., "to": ...}',
            )
        self.reads[buffer.name] = self.writes[buffer.name] = source

    def _default_target(self, name: str, where: str, unknown: tuple[str, ...]) -> Reference:
        prefix: object = self.outputs_prefix
        place = "outputs"
        if prefix is None:
            prefix, place = self.arguments.get("outputs"), "arguments.outputs"
            if prefix is None:
                raise self._output_unbound(name, where, unknown)
            self.places[name] = place
        if not isinstance(prefix, str) or "?" in prefix or "://" not in prefix:
            raise CallerError(
                "reference_invalid",
                f"{shorten(prefix)} is no prefix of references",
                where=place,
                hint="for example s3://bucket/results",
            )
        return output_reference(f"{prefix.rstrip('/')}/{self.activation_id}/{name}.npy", place)

    def _output_unbound(self, name: str, where: str, unknown: tuple[str, ...]) -> CallerError:
        prefix = "give 'outputs' a prefix such as s3://bucket/results"
        hint = f'give {name!r} a reference or "inline", or {prefix}'
        if self.places.get(taken := self.renames.get(name, "")) == f"arguments.{name}":
            hint = f"{name!r} was taken as {taken!r} by rename, so it does not say where the output goes; {prefix}"
        elif meant := _near(name, unknown):
            hint = f"the call also has {meant}; was {name!r} meant?"
        return CallerError("output_unbound", f"nothing says where the output {name!r} goes", where=where, hint=hint)

    def _refuse_shared_targets(self) -> None:
        seen: dict[str, str] = {}
        for name, target in self.writes.items():
            if isinstance(target, Reference):
                other = seen.setdefault(target.object_id, name)
                if other != name:
                    raise CallerError(
                        "argument_invalid",
                        f"the outputs {other!r} and {name!r} both go to {target}",
                        where=self._where(name),
                    )

    # ***** acknowledgement *****

    def _ack(self) -> Ack:
        ack = self.arguments.get("ack", self.manifest.ack)
        if ack not in ACKS:
            raise CallerError(
                "argument_invalid",
                f"{shorten(ack)} is no acknowledgement",
                where="arguments.ack",
                hint=advise(ack if isinstance(ack, str) else "", ACKS, "one of"),
            )
        if ack == "device":
            self._refuse_conditional("the call" if "ack" in self.arguments else "the action")
        return cast("Ack", ack)

    def _refuse_conditional(self, who: str) -> None:
        read = {source.object_id for source in self.reads.values() if isinstance(source, Reference)}
        for name, target in self.writes.items():
            if isinstance(target, Reference) and target.object_id in read:
                raise CallerError(
                    "argument_invalid",
                    f"{name!r} goes to {target}, which the call also reads, and {who} says ack: device; the store may "
                    "refuse that PUT, so it cannot be acknowledged before",
                    where=self._where(name),
                    hint='"ack": "durable", or another object for the output',
                )

    # ***** freshness *****

    def _freshness(self) -> dict[str, Freshness]:
        """How fresh each reference must be: what the call says of it, else the buffer, else the action or the call."""
        said = self.arguments.get("freshness", {})
        named: dict[str, Freshness] = {}
        everywhere: Freshness | None = None
        if isinstance(said, dict):
            named = {name: self._said_of(name, value) for name, value in said.items()}
        else:
            everywhere = _parse_freshness(said, "arguments.freshness")
        found: dict[str, Freshness] = {}
        for name, source in self.reads.items():
            if not isinstance(source, Reference):
                continue
            buffer = self.manifest.buffers[name]
            if buffer.io == "const":
                found[name] = PINNED
            elif self.writes.get(name) is source:
                found[name] = self._in_place(buffer, named)
            else:
                found[name] = named.get(name) or everywhere or buffer.freshness or self.manifest.freshness
        return found

    def _said_of(self, name: str, value: object) -> Freshness:
        where = f"arguments.freshness.{name[:80]}"
        buffer = self.manifest.buffers.get(name)
        if buffer is None or not buffer.is_read:
            raise CallerError(
                "argument_invalid",
                f"{shorten(name)} is no input of the action",
                where=where,
                hint=advise(name, [one.name for one in self.manifest.buffers.values() if one.is_read], "inputs"),
            )
        freshness = _parse_freshness(value, where)
        if buffer.io == "const" and freshness != PINNED:
            raise CallerError("argument_invalid", f"{name!r} is const, so it is pinned, never {freshness}", where=where)
        return freshness

    def _in_place(self, buffer: Buffer, named: Mapping[str, Freshness]) -> Freshness:
        said = named.get(buffer.name) or buffer.freshness or ALWAYS
        if said != ALWAYS:
            raise CallerError(
                "argument_invalid",
                f"{buffer.name!r} is changed in place, which is always done to the newest version, and "
                f"{'the call' if buffer.name in named else 'the action'} says {said}",
                where=f"arguments.freshness.{buffer.name}" if buffer.name in named else self._where(buffer.name),
                hint='say where the result goes: {"from": ..., "to": ...}',
            )
        return ALWAYS


def _near(name: str, given: Sequence[str]) -> str:
    """Those of a call's unknown arguments that may be a misspelt `name`, quoted; nothing if there are none."""
    return _quoted([key for key in given[:_COMPARED] if near(key, [name])])


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(shorten(name) for name in names[:8])


def _number_hint(text: str) -> str:
    with suppress(ValueError):
        if math.isfinite(float(text)):
            return "numbers are not quoted in JSON"
    return f"{shorten(text)} came as a text: give a number, such as 2 or 0.5"


def _is_scalar(value: object) -> bool:
    return isinstance(value, int | float)


def _is_array(value: object) -> bool:
    """Whether an argument may be meant for an input."""
    if isinstance(value, str):
        return value.startswith(("s3://", "file://"))
    return isinstance(value, list) or (isinstance(value, dict) and "base64" in value)


def _renames(manifest: Manifest, arguments: Mapping[str, Any]) -> Mapping[str, str]:
    if "rename" not in arguments:
        return manifest.rename
    said = arguments["rename"]

    def refuse(incoming: str | None, message: str, hint: str | None) -> CallerError:
        where = "arguments.rename" if incoming is None else f"arguments.rename.{incoming[:80]}"
        return CallerError("argument_invalid", message, where=where, hint=hint)

    if not isinstance(said, dict):
        raise refuse(None, f"{shorten(said)} is no map of names", 'for example {"image": "x"}')
    return merged(manifest.rename, check_renames(said, manifest.params, manifest.buffers, refuse))


def _versions(earlier: object) -> tuple[dict[str, str], dict[str, str]]:
    """The etags of an earlier result's outputs by whole object, and the versions of those that have no etag yet.

    They are matched by reference, since names are renamed. What makes no sense is passed over: whoever passes a result
    on need not know what is in it.
    """
    outputs = earlier.get("outputs") if isinstance(earlier, dict) else None
    etags: dict[str, str] = {}
    promised: dict[str, str] = {}
    if isinstance(outputs, dict):
        for output in islice(outputs.values(), _MOST_VERSIONS):
            said = output if isinstance(output, dict) else {}
            found, name = (etags, said["etag"]) if "etag" in said else (promised, said.get("version"))
            if isinstance(said.get("ref"), str) and isinstance(name, str):
                with suppress(CallerError):
                    found[Reference.parse(said["ref"], "arguments.kaas").object_id] = name
    return etags, promised


def _parse_freshness(value: object, where: str) -> Freshness:
    try:
        return Freshness.parse(value)
    except ValueError as reason:
        raise CallerError(
            "argument_invalid", f"{shorten(value)} is no freshness", where=where, hint=str(reason)
        ) from None
