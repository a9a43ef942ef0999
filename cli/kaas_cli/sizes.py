"""The `--set NAME=VALUE` of the command line: a binding without any data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from kaas.binding import Binding, ObjectInfo, bind
from kaas.bundle import Bundle
from kaas.call import Call
from kaas.dtypes import Number, parse_scalar
from kaas.errors import CallerError
from kaas.formats import format_of
from kaas.manifest import Buffer, Manifest
from kaas.suggest import advise
from kaas_cli.output import USAGE, Failure


def bind_sizes(bundle: Bundle, values: Mapping[str, Any]) -> Binding:
    """Bind an action to inputs of the sizes that symbols and parameters give.

    Raises Failure where the command line is to blame, the binding's own CallerError where the action is.
    """
    # The header of an object is in the store.
    manifest = all_by_caller(bundle.manifest)
    _check_names(bundle.manifest, values)
    names = _params(manifest, values)
    fixed = _fixed(bundle)
    names.update({name: extent for name, (extent, _) in fixed.items()})
    for name in manifest.symbols:
        if name not in values:
            continue
        extent, (known, file) = _extent(name, values[name]), fixed.get(name, (None, ""))
        if known not in (None, extent):
            raise Failure(f"{name} is {known}, by {file}", where=f"--set {name}", hint="leave it out", status=USAGE)
        names[name] = extent
    missing = unset_sizes(bundle, values)
    if missing:
        given = [name for name in values if name not in missing]
        raise Failure(
            f"sizes need all names without a value of their own: {', '.join(missing)}",
            where="--set",
            hint=" ".join([*(f"--set {name}={json.dumps(values[name])}" for name in given), options_of(missing)]),
            status=USAGE,
        )
    for name, expression in manifest.let.items():
        names[name] = expression.number(names)
    try:
        return _bind(bundle, manifest, names, {name: values[name] for name in manifest.params if name in values})
    except CallerError as failure:
        if failure.where is None or failure.where.startswith("arguments"):
            raise Failure(failure.message, where="--set", hint=failure.hint) from None
        raise


def unset_sizes(bundle: Bundle, values: Mapping[str, Any]) -> list[str]:
    """The names that sizes still need beside `values`: symbols that no file solves, parameters without a default."""
    fixed = _fixed(bundle)
    needed = [name for name in bundle.manifest.symbols if name not in fixed]
    needed += [name for name, param in bundle.manifest.params.items() if param.default is None]
    return [name for name in needed if name not in values]


def options_of(names: Iterable[str]) -> str:
    """How to give values to names."""
    return " ".join(f"--set {name}=..." for name in names)


def all_by_caller(manifest: Manifest) -> Manifest:
    """The manifest with every const that is an object left to the caller, and without `rename`."""

    def opened(buffer: Buffer) -> Buffer:
        return replace(buffer, reference=None) if buffer.reference is not None else buffer

    return replace(manifest, buffers={name: opened(buffer) for name, buffer in manifest.buffers.items()}, rename={})


def _bind(bundle: Bundle, manifest: Manifest, names: Mapping[str, Number], params: Mapping[str, Any]) -> Binding:
    arguments: dict[str, Any] = dict(params)
    objects: dict[str, ObjectInfo] = {}
    for buffer in manifest.inputs:
        reference = f"s3://sizes/{buffer.name}.npy"
        shape = tuple(extent.integer(names) for extent in buffer.shape)
        head = format_of(reference).make_header(buffer.dtype, shape)
        size = buffer.dtype.itemsize
        for extent in shape:
            size *= extent
        objects[reference] = ObjectInfo("", len(head) + size, head)
        arguments[buffer.name] = reference if buffer.io != "inout" else {"from": reference, "to": f"{reference}.new"}
    call = Call.parse(manifest, arguments, activation_id="sizes", outputs_prefix="s3://sizes/out")
    return bind(manifest, call, objects, bundle.layouts)


def _check_names(manifest: Manifest, values: Mapping[str, Any]) -> None:
    known = [*manifest.symbols, *manifest.params]
    for name in values:
        if name in known:
            continue
        if name in manifest.let:
            message, hint = f"{name} is computed by let: {manifest.let[name].text}", "give what it is computed from"
        elif name in manifest.buffers:
            message = f"{name} is a buffer"
            hint = f"its size follows from its shape, {manifest.buffers[name].shape_text}"
        else:
            message, hint = f"{manifest.name} has no symbol or parameter {name!r}", advise(name, known, "it has")
        raise Failure(message, where=f"--set {name}", hint=hint, status=USAGE)


def _params(manifest: Manifest, values: Mapping[str, Any]) -> dict[str, Number]:
    names: dict[str, Number] = {}
    for name, param in manifest.params.items():
        scalar = param.default
        if name in values:
            try:
                scalar = parse_scalar(param.dtype, values[name])
            except ValueError as reason:
                raise Failure(f"{name} is {param.dtype.name}: {reason}", where=f"--set {name}", status=USAGE) from None
        if scalar is not None and not isinstance(scalar.value, complex):
            names[name] = int(scalar.value) if isinstance(scalar.value, int) else scalar.value
    return names


def _fixed(bundle: Bundle) -> dict[str, tuple[int, str]]:
    """The symbols that files of the bundle give, and which."""
    found: dict[str, tuple[int, str]] = {}
    for buffer in bundle.manifest.buffers.values():
        layout = bundle.layouts.get(buffer.content) if buffer.content is not None else None
        if layout is not None and layout.shape is not None:
            for dimension, extent in zip(buffer.dimensions, layout.shape, strict=False):
                if dimension in bundle.manifest.symbols:
                    found[str(dimension)] = extent, str(buffer.content)
    return found


def _extent(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise Failure(
            f"{name} is an extent: a whole number from 0 on, not {value!r}",
            where=f"--set {name}",
            hint=f"for example --set {name}=1048576",
            status=USAGE,
        )
    return value
