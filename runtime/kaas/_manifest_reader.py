"""From a YAML tree to a `Manifest`: keys, types, names, and what each expression may use."""

from __future__ import annotations

import re
from typing import cast

from kaas import _yaml
from kaas._graph_reader import GraphReader
from kaas._names import Scope, check_unique
from kaas._rename import check_renames
from kaas._sections import Section, describe, is_bundle_path, place, read_expression
from kaas._yaml import Node
from kaas.dtypes import find_dtype, parse_scalar
from kaas.errors import AuthorError, CallerError
from kaas.expressions import Expression
from kaas.freshness import ALWAYS, PINNED, Freshness
from kaas.manifest import ACKS, Ack, Buffer, Dimension, Io, Manifest, Param
from kaas.references import Reference, input_reference, split_tensor
from kaas.suggest import advise

VERSION = 1
MAX_DIMENSIONS = 32
MAX_BUFFERS = 256
MAX_PARAMS = 1024
MAX_LET = 1024

_IO = ("in", "out", "inout", "temp", "const")
_ACTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@ -]{0,127}")

_KEYS = (
    "kaas",
    "name",
    "description",
    "params",
    "buffers",
    "let",
    "graph",
    "rename",
    "freshness",
    "ack",
    "events",
    "rights",
)
_PARAM_KEYS = ("type", "default", "description")
_BUFFER_KEYS = ("io", "dtype", "shape", "zero", "from", "freshness", "description")


def read_manifest(data: bytes | str, filename: str) -> Manifest:
    """Read and check `data`; see Manifest.parse."""
    return read_tree(_yaml.read(data, filename), filename)


def read_tree(tree: Node, filename: str) -> Manifest:
    """Check a manifest's YAML tree."""
    top = Section(tree, "", filename, "the manifest")
    _check_version(top)
    top.check_keys(_KEYS)
    name = top.text("name", example="name: saxpy")
    if not _ACTION_NAME.fullmatch(name):
        raise top.invalid(
            "name", f"{name!r} cannot name an action", "letters, digits and . _ @ - and spaces, at most 128"
        )
    params = {
        key: _read_param(key, Section(node, f"params.{key}", filename, f"parameter {key!r}"))
        for key, node in top.named("params", "parameter").items()
    }
    buffers = {
        key: _read_buffer(key, Section(node, f"buffers.{key}", filename, f"buffer {key!r}"))
        for key, node in top.named("buffers", "buffer").items()
    }
    let_section = top.named("let", "symbol")
    for key, count, most in (
        ("params", len(params), MAX_PARAMS),
        ("buffers", len(buffers), MAX_BUFFERS),
        ("let", len(let_section), MAX_LET),
    ):
        if count > most:
            raise top.invalid(key, f"{count} {key}; at most {most} are allowed")
    let_places = {key: place(filename, node.line, f"let.{key}") for key, node in let_section.items()}
    let = {key: read_expression(node, let_places[key]) for key, node in let_section.items()}
    check_unique(params, buffers, let_places)
    scope = Scope(params, buffers, let)
    scope.check_definitions()
    _check_rights(top)
    graph = GraphReader(filename, scope, let_places)
    steps = graph.read(top)
    return Manifest(
        name=name,
        description=top.description(),
        params=params,
        buffers=buffers,
        let=let,
        symbols=scope.symbols,
        steps=steps,
        same_shapes=tuple(graph.same_shapes),
        rename=_read_rename(top, params, buffers),
        freshness=_read_freshness(top) or ALWAYS,
        ack=_read_ack(top),
        event_input=_read_events(top, buffers),
    )


def _check_version(top: Section) -> None:
    node = top.require("kaas", f"kaas: {VERSION}")
    if node.value != VERSION or isinstance(node.value, bool):
        raise top.invalid(
            "kaas",
            f"manifest version {describe(node)} is not known",
            f"this release reads version {VERSION}: write kaas: {VERSION}",
        )


def _read_param(name: str, section: Section) -> Param:
    section.check_keys(_PARAM_KEYS)
    dtype = find_dtype(section.require("type", "{type: float32}").value, section.where("type"))
    default = None
    if "default" in section.entries:
        try:
            default = parse_scalar(dtype, _plain(section.entries["default"]))
        except ValueError as reason:
            raise section.invalid("default", f"the default does not fit {dtype.name}: {reason}") from None
    return Param(name, dtype, default, section.description(), section.where())


def _plain(node: Node) -> object:
    if isinstance(node.value, list):
        return [item.value for item in node.value]
    return node.value


def _read_buffer(name: str, section: Section) -> Buffer:
    section.check_keys(_BUFFER_KEYS)
    io = section.require("io", "io: in").value
    if io not in _IO:
        raise section.invalid(
            "io",
            f"{describe(section.entries['io'])} is no direction of a buffer",
            advise(str(io), _IO, "one of"),
        )
    dtype = find_dtype(section.require("dtype", "dtype: float32").value, section.where("dtype"))
    shape = section.items(
        "shape",
        lambda node, path: read_expression(node, place(section.file, node.line, path)),
        example="shape: [n]",
    )
    if len(shape) > MAX_DIMENSIONS:
        raise section.invalid("shape", f"{len(shape)} dimensions; at most {MAX_DIMENSIONS} are allowed")
    zero = section.flag("zero")
    if zero and io not in ("out", "temp"):
        raise section.invalid(
            "zero",
            f"zero clears a buffer before the first step, which would lose what this {io!r} buffer holds",
            "zero goes with out and temp",
        )
    file, tensor, reference = _read_from(section, io)
    return Buffer(
        name=name,
        io=cast("Io", io),
        dtype=dtype,
        shape=shape,
        dimensions=tuple(_dimension(expression) for expression in shape),
        zero=zero,
        file=file,
        description=section.description(),
        where=section.where(),
        tensor=tensor,
        reference=reference,
        from_where=section.where("from"),
        freshness=_read_buffer_freshness(section, io),
    )


def _dimension(expression: Expression) -> Dimension:
    if expression.is_name:
        return expression.text.strip()
    if expression.constant is None:
        return expression
    try:
        return expression.integer({})
    except CallerError:
        raise AuthorError(
            "manifest_invalid",
            f"{expression.text} cannot be an extent",
            where=expression.where,
            hint="an extent is a whole number from 0 on",
        ) from None


def _read_from(section: Section, io: str) -> tuple[str | None, str | None, Reference | None]:
    """The bundled file, its tensor, and the reference that `from` names; at most one of the first and the last."""
    if "from" not in section.entries:
        return None, None, None
    if io != "const":
        raise section.invalid(
            "from",
            f"'from' fixes the contents of a buffer, and an {io!r} buffer's come from the call or the kernels",
            "declare io: const",
        )
    text = section.text("from", example="from: weights.npy", limit=2048)
    if "://" in text:
        try:
            return None, None, input_reference(text, section.where("from"))
        except CallerError as error:
            raise section.invalid("from", error.message, error.hint) from None
    file, tensor = split_tensor(text)
    if tensor == "" or (tensor is None and file.lower().endswith(".safetensors")):
        raise section.invalid("from", f"{text!r} holds many tensors", f"name one: {file}#weight")
    if not is_bundle_path(file):
        raise section.invalid("from", f"{text!r} is not a path inside the bundle", "for example weights.npy")
    return file, tensor, None


def _read_freshness(section: Section) -> Freshness | None:
    if "freshness" not in section.entries:
        return None
    node = section.entries["freshness"]
    try:
        return Freshness.parse(node.value)
    except ValueError as reason:
        raise section.invalid("freshness", f"{describe(node)} is no freshness", str(reason)) from None


def _read_buffer_freshness(section: Section, io: str) -> Freshness | None:
    freshness = _read_freshness(section)
    if freshness is not None and io in ("out", "temp"):
        raise section.invalid("freshness", f"{io!r} buffers have no contents from a store", "leave it out")
    if io == "const" and freshness not in (None, PINNED):
        raise section.invalid("freshness", f"a const is always pinned, never {freshness}", "declare io: in")
    return freshness


def _read_ack(top: Section) -> Ack:
    if "ack" not in top.entries:
        return "durable"
    node = top.entries["ack"]
    if node.value not in ACKS:
        raise top.invalid("ack", f"{describe(node)} is no acknowledgement", advise(str(node.value), ACKS, "one of"))
    return cast("Ack", node.value)


def _check_rights(top: Section) -> None:
    """The manifest may say whose store rights the action's references are read with; they are always the caller's."""
    if "rights" not in top.entries:
        return
    node = top.entries["rights"]
    if node.value == "owner":
        raise AuthorError(
            "not_supported",
            "rights: owner would let callers read with the owner's store rights, and the pool knows who calls an "
            "action, but not whose it is: every caller uploads the bundle as their own",
            where=top.where("rights"),
            hint="give the callers the right to read those objects in the store, or put a file into the bundle "
            "(io: const, from: weights.npy)",
        )
    if node.value != "caller":
        raise top.invalid("rights", f"{describe(node)} does not say whose rights", "rights: caller, or leave it out")


def _read_rename(top: Section, params: dict[str, Param], buffers: dict[str, Buffer]) -> dict[str, str]:
    if "rename" not in top.entries or top.entries["rename"].value is None:
        return {}
    section = Section(top.entries["rename"], "rename", top.file, "'rename'")
    plain = {incoming: node.value for incoming, node in section.entries.items()}
    return check_renames(plain, params, buffers, section.invalid)


def _read_events(top: Section, buffers: dict[str, Buffer]) -> str | None:
    if "events" not in top.entries:
        return None
    section = Section(top.entries["events"], "events", top.file, "'events'")
    section.check_keys(("input",))
    name = section.text("input", example="events: {input: x}")
    inputs = [buffer.name for buffer in buffers.values() if buffer.io == "in"]
    if name not in inputs:
        problem = "an object that an event tells of becomes an input, io: in" if name in buffers else "no such buffer"
        raise section.invalid("input", f"{name!r}: {problem}", advise(name, inputs, "inputs"))
    return name
