"""The arguments of one call, read against the manifest before any object is looked at (docs/manifest.md, "A call")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kaas._sections import RESERVED
from kaas.dtypes import TypedScalar, parse_scalar, shorten
from kaas.errors import CallerError
from kaas.manifest import Buffer, Manifest, Param
from kaas.references import InlineValue, Reference, parse_input
from kaas.suggest import suggest

#: Reserved arguments that change what a call means -> the one value that this release runs.
_ONLY_VALUE: Mapping[str, Any] = {"rename": {}, "freshness": "always", "ack": "durable", "store": None}

_MISSING = object()

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
    """

    params: Mapping[str, TypedScalar]
    reads: Mapping[str, Reference | InlineValue]
    writes: Mapping[str, Reference | InlineOutput]
    unknown: tuple[str, ...]

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

    @property
    def objects(self) -> dict[str, Reference]:
        """The whole objects that binding needs to know about, by `Reference.object_id`."""
        return {ref.object_id: ref.whole() for ref in self.reads.values() if isinstance(ref, Reference)}


class _CallReader:
    def __init__(
        self, manifest: Manifest, arguments: Mapping[str, Any], activation_id: str, outputs_prefix: str | None
    ) -> None:
        self.manifest = manifest
        self.arguments = arguments
        self.activation_id = activation_id
        self.outputs_prefix = outputs_prefix
        self.reads: dict[str, Reference | InlineValue] = {}
        self.writes: dict[str, Reference | InlineOutput] = {}

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
        for name, only in _ONLY_VALUE.items():
            if name in arguments and arguments[name] != only:
                raise CallerError(
                    "not_supported_yet",
                    f"{name!r} is part of a call, but this release does not run it with {shorten(arguments[name])} yet",
                    where=f"arguments.{name}",
                    hint=f"leave it out: the default is {only!r}" if only else "leave it out",
                )
        params = {name: self._param(param, unknown) for name, param in manifest.params.items()}
        for buffer in manifest.buffers.values():
            if buffer.io == "out":
                self._output(buffer, arguments.get(buffer.name))
            elif buffer.file is not None:
                self._refuse_fixed(buffer)
            elif buffer.io != "temp":
                if buffer.name not in arguments:
                    raise self._input_missing(buffer.name, _WHAT[buffer.io], unknown)
                if buffer.io == "inout":
                    self._inout(buffer, arguments[buffer.name])
                else:
                    self.reads[buffer.name] = parse_input(arguments[buffer.name], f"arguments.{buffer.name}")
        if len(self.writes) > 1:
            self._refuse_shared_targets()
        return Call(params, self.reads, self.writes, unknown)

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
                where=f"arguments.{param.name}",
                hint="numbers are not quoted in JSON" if isinstance(value, str) else None,
            ) from None

    def _input_missing(self, name: str, what: str, unknown: tuple[str, ...]) -> CallerError:
        hint = f"{'give a value' if 'parameter' in what else 'give a reference'} as argument {name!r}"
        if unknown:
            quoted = ", ".join(shorten(key) for key in unknown[:8])
            hint = f"the call also has {quoted}, which the action does not know; {hint}"
            if any(suggest(key, [name]) for key in unknown):
                hint = f"the call also has {quoted}; was {name!r} meant?"
        return CallerError("input_missing", f"{what} {name!r} is not given", where=f"arguments.{name}", hint=hint)

    def _refuse_fixed(self, buffer: Buffer) -> None:
        if buffer.name in self.arguments:
            raise CallerError(
                "argument_invalid",
                f"{buffer.name!r} is fixed by the action to its file {buffer.file!r}",
                where=f"arguments.{buffer.name}",
                hint="leave it out; an action without 'from' lets the caller bind a const",
            )

    def _output(self, buffer: Buffer, value: object) -> None:
        where = f"arguments.{buffer.name}"
        if value is None:
            self.writes[buffer.name] = self._default_target(buffer.name, where)
        elif value == "inline":
            self.writes[buffer.name] = InlineOutput()
        elif value == "base64":
            self.writes[buffer.name] = InlineOutput(as_base64=True)
        elif isinstance(value, str) and "://" in value:
            self.writes[buffer.name] = _target(value, where)
        else:
            raise CallerError(
                "argument_invalid",
                f"{shorten(value)} is no place for an output",
                where=where,
                hint='an output goes to a reference such as s3://bucket/key, or comes back: "inline" or "base64"',
            )

    def _inout(self, buffer: Buffer, value: object) -> None:
        where = f"arguments.{buffer.name}"
        if isinstance(value, dict) and "base64" not in value:
            if "from" not in value or set(value) - {"from", "to"}:
                raise CallerError(
                    "argument_invalid",
                    f"{shorten(value)} is no value of an inout buffer",
                    where=where,
                    hint='a reference (changed in place), or {"from": ..., "to": ...}',
                )
            self.reads[buffer.name] = parse_input(value["from"], f"{where}.from")
            self._output(buffer, value.get("to"))
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

    def _default_target(self, name: str, where: str) -> Reference:
        prefix: object = self.outputs_prefix
        place = "outputs"
        if prefix is None:
            prefix, place = self.arguments.get("outputs"), "arguments.outputs"
        if prefix is None:
            raise CallerError(
                "output_unbound",
                f"nothing says where the output {name!r} goes",
                where=where,
                hint=f"give {name!r} a reference or \"inline\", or give 'outputs' a prefix such as s3://bucket/results",
            )
        if not isinstance(prefix, str) or "?" in prefix or "://" not in prefix:
            raise CallerError(
                "reference_invalid",
                f"{shorten(prefix)} is no prefix of references",
                where=place,
                hint="for example s3://bucket/results",
            )
        return Reference.parse(f"{prefix.rstrip('/')}/{self.activation_id}/{name}.npy", place)

    def _refuse_shared_targets(self) -> None:
        seen: dict[str, str] = {}
        for name, target in self.writes.items():
            if isinstance(target, Reference):
                other = seen.setdefault(target.object_id, name)
                if other != name:
                    raise CallerError(
                        "argument_invalid",
                        f"the outputs {other!r} and {name!r} both go to {target}",
                        where=f"arguments.{name}",
                    )


def _target(text: str, where: str) -> Reference:
    target = Reference.parse(text, where)
    if target.is_range or target.version is not None:
        raise CallerError(
            "reference_invalid",
            f"{shorten(text)}: an output is a whole new object, without a range or a version",
            where=where,
        )
    return target
