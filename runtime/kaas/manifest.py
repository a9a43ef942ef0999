"""The manifest `kaas.yaml`: what a kernel action takes, gives and does (docs/manifest.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

from kaas.dtypes import DType, TypedScalar
from kaas.errors import AuthorError
from kaas.expressions import Expression
from kaas.freshness import ALWAYS, Freshness
from kaas.graph import CopyStep, FillStep, KernelStep, RepeatStep, Source, Step, walk
from kaas.references import Reference

Io = Literal["in", "out", "inout", "temp", "const"]

#: When a call is answered: once the store has its outputs, or once they are computed.
Ack = Literal["durable", "device"]
ACKS: tuple[Ack, ...] = get_args(Ack)

#: A dimension: a fixed extent, the name of a symbol, `let` or parameter, or an expression that is not a bare name.
Dimension = int | str | Expression

FILE_NAME = "kaas.yaml"


@dataclass(frozen=True)
class Param:
    """A scalar of the call; `default` is None if the caller must give it."""

    name: str
    dtype: DType
    default: TypedScalar | None
    description: str
    where: str


@dataclass(frozen=True)
class Buffer:
    """An array on the device, C-contiguous.

    `shape` is what the author wrote, `dimensions` the same sorted by kind. `zero` clears it before the first step.
    A `const` that the action binds has the bundled `file`, and of it the `tensor` if it is a safetensors file, or the
    `reference` of an object, and `from_where` says where that stands; without both the caller binds it. `freshness`
    is None where the manifest's default holds.
    """

    name: str
    io: Io
    dtype: DType
    shape: tuple[Expression, ...]
    dimensions: tuple[Dimension, ...]
    zero: bool
    file: str | None
    description: str
    where: str
    tensor: str | None = None
    reference: Reference | None = None
    from_where: str = ""
    freshness: Freshness | None = None

    @property
    def is_fixed(self) -> bool:
        """Whether the action binds it, so that a call cannot."""
        return self.file is not None or self.reference is not None

    @property
    def content(self) -> str | None:
        """The bundled contents it is bound to: `file`, or `file#tensor`. The key of `Bundle.layouts`."""
        return self.file if self.tensor is None else f"{self.file}#{self.tensor}"

    @property
    def is_read(self) -> bool:
        """Whether it has contents before the first step."""
        return self.io in ("in", "inout", "const")

    @property
    def is_stored(self) -> bool:
        """Whether its contents after the last step are a result."""
        return self.io in ("out", "inout")

    @property
    def shape_text(self) -> str:
        """The shape as written, `[n, 2 * m]`."""
        return f"[{', '.join(dimension.text for dimension in self.shape)}]"


@dataclass(frozen=True)
class SameShape:
    """Two buffers whose shapes are written differently and must come out equal, and the step that needs it."""

    first: str
    second: str
    where: str


@dataclass(frozen=True, eq=False)
class Manifest:
    """One kernel action, checked as far as it can be without data. Manifests compare by identity.

    `let` keeps the order written, in which each may use those before it. `symbols` are the names that the shapes of
    inputs give a value to. `rename` maps a call's arguments to the buffers and parameters they are meant for;
    `freshness` is that of every reference of which neither its buffer nor the call says more; `ack` holds for calls
    that do not say. `event_input` is the buffer that gets the object which an event tells of, None if events bring
    arguments alone.
    """

    name: str
    description: str
    params: Mapping[str, Param]
    buffers: Mapping[str, Buffer]
    let: Mapping[str, Expression]
    symbols: tuple[str, ...]
    steps: tuple[Step, ...]
    same_shapes: tuple[SameShape, ...]
    rename: Mapping[str, str] = field(default_factory=dict)
    freshness: Freshness = ALWAYS
    ack: Ack = "durable"
    event_input: str | None = None

    @staticmethod
    def parse(data: bytes | str, filename: str = FILE_NAME) -> Manifest:
        """Read and check a manifest.

        Raises AuthorError: `manifest_invalid`, `unknown_key`, `name_reserved`, `name_duplicate`, `name_unknown`,
        `expression_invalid` or `not_supported`, each with the line.
        """
        from kaas import _manifest_reader  # It builds the classes of this module.

        return _manifest_reader.read_manifest(data, filename)

    @staticmethod
    def parse_all(data: bytes | str, filename: str = FILE_NAME) -> tuple[Manifest | None, tuple[AuthorError, ...]]:
        """As `parse`, but with every error that can be told at once, for those who mend a manifest by hand.

        What is wrong is mended in passing or passed over, so that with errors the manifest is not what the author
        wrote, though whatever it has of kernels, sources and arguments is; None if nothing could be made of it.
        """
        from kaas import _recovery

        return _recovery.read_all(data, filename)

    @cached_property
    def inputs(self) -> tuple[Buffer, ...]:
        """The buffers a call gives contents to: `in`, `inout`, and a `const` that the action does not bind."""
        return tuple(buffer for buffer in self.buffers.values() if buffer.is_read and not buffer.is_fixed)

    @cached_property
    def outputs(self) -> tuple[Buffer, ...]:
        """The buffers whose contents a call stores: `out` and `inout`."""
        return tuple(buffer for buffer in self.buffers.values() if buffer.is_stored)

    @cached_property
    def kernel_steps(self) -> tuple[KernelStep, ...]:
        """Every launch in the order written, those inside loops included, each once."""
        return tuple(step for step in walk(self.steps) if isinstance(step, KernelStep))

    @cached_property
    def checked_loops(self) -> tuple[RepeatStep, ...]:
        """The loops with an `until` in the order written: that of `stats.rounds`."""
        return tuple(step for step in walk(self.steps) if isinstance(step, RepeatStep) and step.until is not None)

    @cached_property
    def kernels(self) -> Mapping[Source, tuple[str, ...]]:
        """The kernels that each source serves: the units of compiling, in the order written."""
        units: dict[Source, dict[str, None]] = {}
        for step in self.kernel_steps:
            units.setdefault(step.source, {})[step.kernel] = None
        return {source: tuple(names) for source, names in units.items()}

    def place_of(self, source: Source, kernel: str | None = None) -> str:
        """Where `kernel` of `source` is first asked for; without `kernel`, where the source is."""
        for step in self.kernel_steps:
            if step.source == source and kernel in (None, step.kernel):
                return step.place("kernel" if kernel is not None else "source")
        raise KeyError(source.path)

    @cached_property
    def written(self) -> frozenset[str]:
        """The buffers that a fill, a copy, a swap or a kernel's `writes` may change.

        What a kernel without `reads` and `writes` changes, its signature says.
        """
        names: set[str] = set()
        for step in walk(self.steps):
            if isinstance(step, KernelStep):
                names.update(step.writes or ())
            elif isinstance(step, FillStep):
                names.add(step.buffer)
            elif isinstance(step, CopyStep):
                names.add(step.target)
            elif step.swap:
                names.update(step.swap)
        return frozenset(names)
