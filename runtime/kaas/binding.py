"""A call bound to its data: every size known, every byte's origin and destination fixed.

`bind` needs what the object store says about the inputs and nothing else; the `Binding` it makes is all that the
scheduler, the mover and the executor need besides the manifest.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kaas.dtypes import DTYPES, Number, TypedScalar
from kaas.formats import Layout, inline

if TYPE_CHECKING:
    from kaas.call import Call
    from kaas.manifest import Manifest

#: Every buffer begins at a multiple of this, as device allocations do.
ALIGNMENT_BYTES = 256


@dataclass(frozen=True)
class ObjectInfo:
    """What the store says about an object: its etag, its size in bytes, and its first bytes.

    `head` is the whole object or at least `formats.HEAD_BYTES` of it, and where a tensor of it is read as many as
    `formats.safetensors.header_bytes(head)` says.
    """

    etag: str
    size: int
    head: bytes = b""


@dataclass(frozen=True)
class ObjectSource:
    """Contents that are `size` bytes of one version of an object, from byte `offset` on."""

    scheme: str
    bucket: str
    key: str
    etag: str
    version: str | None
    offset: int
    size: int


@dataclass(frozen=True)
class InlineSource:
    """Contents given in the call."""

    data: bytes


@dataclass(frozen=True)
class BundleFile:
    """Contents that are a file of the bundle, from byte `offset` on."""

    path: str
    offset: int


@dataclass(frozen=True)
class ObjectTarget:
    """An object to write: `header`, then the buffer's bytes; only over the version `if_match`, unless that is None."""

    scheme: str
    bucket: str
    key: str
    header: bytes
    if_match: str | None


@dataclass(frozen=True)
class InlineTarget:
    """An output that comes back in the result."""

    as_base64: bool


Source = ObjectSource | InlineSource | BundleFile
Target = ObjectTarget | InlineTarget


@dataclass(frozen=True)
class BoundBuffer:
    """One buffer with its sizes; `source` and `target` are None where it has no contents before or after the steps."""

    name: str
    io: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    zero: bool
    source: Source | None
    target: Target | None

    def render(self, data: bytes | memoryview) -> Any:
        """The JSON value of this buffer's bytes, for an inline target."""
        as_base64 = isinstance(self.target, InlineTarget) and self.target.as_base64
        return inline.encode(data, DTYPES[self.dtype], self.shape, as_base64=as_base64)


@dataclass(frozen=True, eq=True)
class Binding:
    """One invocation's data. `symbols` holds the solved symbols and the values of `let`."""

    params: Mapping[str, TypedScalar]
    symbols: Mapping[str, Number]
    buffers: Mapping[str, BoundBuffer]

    @cached_property
    def names(self) -> dict[str, Number]:
        """What expressions may name outside of loops; a bool counts 0 or 1, complex parameters are not in it."""
        return {**self.symbols, **numeric(self.params)}

    @cached_property
    def device_bytes(self) -> int:
        """Device memory for all buffers at once, in bytes, each aligned; an empty one still takes an address."""
        return sum(-(-max(buffer.nbytes, 1) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES for buffer in self.buffers.values())

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` turns back into an equal binding."""
        return {
            "params": {name: value.to_json() for name, value in self.params.items()},
            "symbols": {name: value if value - value == 0 else str(value) for name, value in self.symbols.items()},
            "buffers": [
                [
                    buffer.name,
                    buffer.io,
                    buffer.dtype,
                    buffer.shape,
                    buffer.nbytes,
                    buffer.zero,
                    _source_to_json(buffer.source),
                    _target_to_json(buffer.target),
                ]
                for buffer in self.buffers.values()
            ],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Binding:
        """The inverse of `to_json`."""
        return Binding(
            {name: TypedScalar.from_json(value) for name, value in data["params"].items()},
            {name: float(value) if isinstance(value, str) else value for name, value in data["symbols"].items()},
            {
                name: BoundBuffer(
                    name,
                    io,
                    dtype,
                    tuple(shape),
                    nbytes,
                    zero,
                    _source_from_json(source),
                    _target_from_json(target),
                )
                for name, io, dtype, shape, nbytes, zero, source, target in data["buffers"]
            },
        )


def bind(
    manifest: Manifest,
    call: Call,
    objects: Mapping[str, ObjectInfo],
    files: Mapping[str, Layout] | None = None,
) -> Binding:
    """Bind a call to what the store says about its objects.

    `objects` answers for every key of `call.objects`; `files` is the bundle's `layouts`. Raises CallerError:
    `object_not_found` (also for a tensor), `format_invalid`, `dtype_mismatch`, `shape_mismatch`, `size_mismatch`,
    `symbol_unsolved`, `expression_range`, `argument_invalid` or `inline_too_large`.
    """
    from kaas._binder import Binder  # It builds the classes of this module.

    return Binder(manifest, call, objects, files or {}).bind()


def numeric(params: Mapping[str, TypedScalar]) -> dict[str, Number]:
    """The parameters that expressions compute with, bools as 0 and 1."""
    return {
        name: int(scalar.value) if isinstance(scalar.value, int) else scalar.value
        for name, scalar in params.items()
        if not isinstance(scalar.value, complex)
    }


def _source_to_json(source: Source | None) -> list[Any] | None:
    if isinstance(source, ObjectSource):
        return [
            "object",
            source.scheme,
            source.bucket,
            source.key,
            source.etag,
            source.version,
            source.offset,
            source.size,
        ]
    if isinstance(source, InlineSource):
        return ["inline", base64.b64encode(source.data).decode()]
    if isinstance(source, BundleFile):
        return ["file", source.path, source.offset]
    return None


def _source_from_json(data: list[Any] | None) -> Source | None:
    if data is None:
        return None
    kind, *fields = data
    if kind == "object":
        return ObjectSource(*fields)
    if kind == "inline":
        return InlineSource(base64.b64decode(fields[0]))
    return BundleFile(*fields)


def _target_to_json(target: Target | None) -> list[Any] | None:
    if isinstance(target, ObjectTarget):
        header = base64.b64encode(target.header).decode()
        return ["object", target.scheme, target.bucket, target.key, header, target.if_match]
    if isinstance(target, InlineTarget):
        return ["inline", target.as_base64]
    return None


def _target_from_json(data: list[Any] | None) -> Target | None:
    if data is None:
        return None
    kind, *fields = data
    if kind == "object":
        scheme, bucket, key, header, if_match = fields
        return ObjectTarget(scheme, bucket, key, base64.b64decode(header), if_match)
    return InlineTarget(*fields)
