"""From a call and what the store says about its objects to a `Binding`: headers, symbols, shapes, targets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from kaas.binding import (
    Binding,
    BoundBuffer,
    BundleFile,
    InlineSource,
    InlineTarget,
    ObjectInfo,
    ObjectSource,
    ObjectTarget,
    Source,
    Target,
    numeric,
)
from kaas.call import Call
from kaas.dtypes import Number
from kaas.errors import CallerError
from kaas.expressions import Expression
from kaas.formats import Layout, format_of, inline, raw, safetensors
from kaas.manifest import Buffer, Dimension, Manifest
from kaas.references import MAX_INLINE_BYTES, MAX_RESULT_BYTES, InlineValue, Reference

#: No address space is larger; it keeps every byte count a signed 64-bit number.
MAX_BUFFER_BYTES = 1 << 62


class _Input(NamedTuple):
    """The contents of one input: what they say about themselves, where they are, and their name in messages."""

    layout: Layout
    source: Source
    label: str
    #: The element type in the words of the object, where it has others than NumPy's.
    stored: str = ""


class Binder:
    """Binds one call; see `kaas.binding.bind`."""

    def __init__(
        self,
        manifest: Manifest,
        call: Call,
        objects: Mapping[str, ObjectInfo],
        files: Mapping[str, Layout],
    ) -> None:
        self.manifest = manifest
        self.call = call
        self.objects = objects
        self.files = files
        self.inputs: dict[str, _Input] = {}
        self.names = numeric(call.params)
        self.symbols: dict[str, Number] = {}

    def bind(self) -> Binding:
        """The binding."""
        manifest = self.manifest
        for buffer in manifest.buffers.values():
            if buffer.is_read:
                self.inputs[buffer.name] = self._input(buffer)
        self._solve()
        buffers = {buffer.name: self._buffer(buffer) for buffer in manifest.buffers.values()}
        for pair in manifest.same_shapes:
            one, other = buffers[pair.first], buffers[pair.second]
            if one.shape != other.shape:
                raise CallerError(
                    "shape_mismatch",
                    f"{one.name} has the shape {list(one.shape)}, {other.name} {list(other.shape)}, "
                    "and this step needs them equal",
                    where=pair.where,
                    hint="declare both with one shape, or give inputs by which the two agree",
                )
        for loop in manifest.checked_loops:
            assert loop.until is not None
            looked_at = buffers[loop.until.buffer]
            if 0 in looked_at.shape:
                raise CallerError(
                    "shape_mismatch",
                    f"{looked_at.name} has the shape {list(looked_at.shape)}: no element to compare",
                    where=loop.until.where,
                )
        self._check_inline_outputs(buffers)
        return Binding(self.call.params, self.symbols, buffers)

    def _check_inline_outputs(self, buffers: Mapping[str, BoundBuffer]) -> None:
        inline_bytes = sum(one.nbytes for one in buffers.values() if isinstance(one.target, InlineTarget))
        if inline_bytes > MAX_RESULT_BYTES:
            raise CallerError(
                "inline_too_large",
                f"the inline outputs have {inline_bytes} bytes together; a result holds at most {MAX_RESULT_BYTES}",
                where="arguments",
                hint="give the larger ones a reference",
            )

    # Contents

    def _input(self, buffer: Buffer) -> _Input:
        if buffer.file is not None and buffer.content is not None:
            layout = self.files[buffer.content]
            found = _Input(layout, BundleFile(buffer.file, layout.offset), buffer.content)
        else:
            value = self.call.reads[buffer.name]
            if isinstance(value, InlineValue):
                return self._inline(buffer, value)
            found = self._object(buffer, value)
        dtype = found.layout.dtype
        if dtype is not None and dtype is not buffer.dtype:
            held = f"{found.stored}, read as {dtype.name}" if found.stored else dtype.name
            raise CallerError(
                "dtype_mismatch",
                f"{found.label} holds {held}, and the action declares {buffer.name} as {buffer.dtype.name}",
                where=self._where(buffer),
                hint=f"convert it: array.astype({buffer.dtype.name!r})",
            )
        return found

    def _inline(self, buffer: Buffer, value: InlineValue) -> _Input:
        array = inline.decode(value.value, buffer.dtype, self.call.where(buffer.name))
        layout = Layout(buffer.dtype, array.shape, 0, len(array.data))
        return _Input(layout, InlineSource(array.data), "its inline value")

    def _object(self, buffer: Buffer, ref: Reference) -> _Input:
        where, label = self.call.where(buffer.name), str(ref)
        info = self.objects.get(ref.object_id)
        if info is None:
            raise CallerError("object_not_found", f"{label} does not exist", where=where)
        stored = ""
        if ref.tensor is not None:
            layout, stored = safetensors.read_tensor(info.head, info.size, ref.tensor, label, where)
        elif ref.offset is None:
            layout = format_of(ref.key).read_layout(info.head, info.size, label, where)
        else:
            size = info.size - ref.offset if ref.size is None else ref.size
            if size < 0 or ref.offset + size > info.size:
                raise CallerError(
                    "size_mismatch", f"{label} reaches beyond the object's end at {info.size} bytes", where=where
                )
            layout = Layout(None, None, ref.offset, size)
        source = ObjectSource(ref.scheme, ref.bucket, ref.key, info.etag, ref.version, layout.offset, layout.nbytes)
        return _Input(layout, source, label, stored)

    # Symbols

    def _solve(self) -> None:
        raw: list[Buffer] = []
        names, symbols = self.names, self.symbols
        for name, found in self.inputs.items():
            shape = found.layout.shape
            buffer = self.manifest.buffers[name]
            if shape is None:
                raw.append(buffer)
                continue
            if len(shape) != len(buffer.dimensions):
                raise self._rank_error(buffer, found, shape)
            for dimension, extent in zip(buffer.dimensions, shape, strict=True):
                if isinstance(dimension, str) and dimension not in names and dimension not in self.manifest.let:
                    names[dimension] = symbols[dimension] = extent
        self._define()
        while raw:
            rest = [buffer for buffer in raw if not self._solve_raw(buffer)]
            if len(rest) == len(raw):
                raise self._unsolved_error(rest[0])
            raw = rest
            self._define()

    def _define(self) -> None:
        """Evaluate every line of `let` whose names are known by now."""
        for name, expression in self.manifest.let.items():
            if name not in self.names and expression.names <= self.names.keys():
                self.names[name] = self.symbols[name] = expression.number(self.names)

    def _solve_raw(self, buffer: Buffer) -> bool:
        """Solve the one unknown dimension of data that have only a length; False if there are several yet."""
        unknown: str | None = None
        times = 0
        known = 1
        for dimension in buffer.dimensions:
            if isinstance(dimension, str) and dimension not in self.names:
                if dimension in self.manifest.let or unknown not in (None, dimension):
                    return False
                unknown = dimension
                times += 1
            elif isinstance(dimension, Expression) and not dimension.names <= self.names.keys():
                return False
            else:
                known *= self._extent(buffer, dimension)
        if unknown is None:
            return True
        found = self.inputs[buffer.name]
        itemsize = buffer.dtype.itemsize
        count = found.layout.nbytes // itemsize
        if found.layout.nbytes % itemsize:
            raise CallerError(
                "size_mismatch",
                f"{found.label} has {found.layout.nbytes} bytes, no multiple of the {itemsize} of {buffer.dtype.name}",
                where=self._where(buffer),
                hint=_raw_hint(found),
            )
        if known == 0:
            return False
        extent = _root(count // known, times)
        if known * extent**times != count:
            raise CallerError(
                "size_mismatch",
                f"{found.label} has {count} elements, which no {unknown} makes {buffer.shape_text}"
                f"{self._values(*buffer.shape)}",
                where=self._where(buffer),
                hint=_raw_hint(found),
            )
        self.names[unknown] = self.symbols[unknown] = extent
        return True

    # Shapes

    def _extent(self, buffer: Buffer, dimension: Dimension) -> int:
        if isinstance(dimension, int):
            return dimension
        if isinstance(dimension, str):
            value = self.names[dimension]
            if value.__class__ is int and 0 <= value < MAX_BUFFER_BYTES:
                return value
            dimension = buffer.shape[buffer.dimensions.index(dimension)]
        return dimension.integer(self.names, most=MAX_BUFFER_BYTES)

    def _buffer(self, buffer: Buffer) -> BoundBuffer:
        shape = tuple([self._extent(buffer, dimension) for dimension in buffer.dimensions])
        nbytes = math.prod(shape) * buffer.dtype.itemsize
        if nbytes > MAX_BUFFER_BYTES:
            raise CallerError(
                "expression_range",
                f"the shape {list(shape)} of {buffer.dtype.name} has more bytes than any address space"
                f"{self._values(*buffer.shape)}",
                where=buffer.where,
            )
        source: Source | None = None
        if buffer.is_read:
            found = self.inputs[buffer.name]
            given = found.layout.shape
            if given is not None and given != shape:
                raise self._shape_error(buffer, found, given, shape)
            if found.layout.nbytes != nbytes:
                raise CallerError(
                    "size_mismatch",
                    f"{found.label} has {found.layout.nbytes} bytes, and {buffer.name} {buffer.shape_text} of "
                    f"{buffer.dtype.name} needs {nbytes}{self._values(*buffer.shape)}",
                    where=self._where(buffer),
                    hint=_raw_hint(found),
                )
            source = found.source
        target = self._target(buffer, shape, nbytes) if buffer.is_stored else None
        return BoundBuffer(buffer.name, buffer.io, buffer.dtype.name, shape, nbytes, buffer.zero, source, target)

    def _target(self, buffer: Buffer, shape: tuple[int, ...], nbytes: int) -> Target:
        target = self.call.writes[buffer.name]
        if isinstance(target, Reference):
            header = format_of(target.key).make_header(buffer.dtype, shape)
            # Writing over an object this call reads is conditional on the version read: a retry, which must read
            # the same version, can then tell its own write from somebody else's.
            replaced = self.objects.get(target.object_id)
            etag = replaced.etag if replaced is not None and target.object_id in self.call.objects else None
            return ObjectTarget(target.scheme, target.bucket, target.key, header, etag)
        if nbytes > MAX_INLINE_BYTES:
            raise inline.too_large(
                f"the output {buffer.name} has {nbytes} bytes",
                self.call.where(buffer.name),
                "give it a reference, such as s3://bucket/key",
            )
        return InlineTarget(target.as_base64)

    # Messages

    def _where(self, buffer: Buffer) -> str:
        return self.call.where(buffer.name) if buffer.file is None else buffer.from_where

    def _values(self, *expressions: Expression) -> str:
        """` (m = 4, n = 3)` for the names in expressions."""
        names = sorted({name for expression in expressions for name in expression.names} & self.names.keys())
        return f" ({', '.join(f'{name} = {self.names[name]}' for name in names)})" if names else ""

    def _rank_error(self, buffer: Buffer, found: _Input, shape: tuple[int, ...]) -> CallerError:
        return CallerError(
            "shape_mismatch",
            f"{found.label} has the shape {list(shape)}, and {buffer.name} is declared as {buffer.shape_text}",
            where=self._where(buffer),
        )

    def _shape_error(
        self, buffer: Buffer, found: _Input, given: tuple[int, ...], wanted: tuple[int, ...]
    ) -> CallerError:
        at = next(index for index, extent in enumerate(given) if extent != wanted[index])
        dimension = buffer.dimensions[at]
        message = f"{buffer.name} has the shape {list(given)}, and {list(wanted)} is needed"
        if isinstance(dimension, str):
            message = (
                f"{dimension} is {given[at]} in {buffer.name} ({found.label}) and {wanted[at]} "
                f"{self._origin(dimension)}"
            )
        elif isinstance(dimension, Expression):
            message = (
                f"dimension {at} of {buffer.name} ({found.label}) is {given[at]}, and {dimension.text} is "
                f"{wanted[at]}{self._values(dimension)}"
            )
        hint = f"{buffer.name} is declared as {buffer.shape_text}: give arrays that agree, or declare other shapes"
        return CallerError("shape_mismatch", message, where=self._where(buffer), hint=hint)

    def _origin(self, name: str) -> str:
        """Where a name's value comes from."""
        if name in self.call.params:
            return "as a parameter"
        if name in self.manifest.let:
            return f"by let: {self.manifest.let[name].text}"
        for other in self.manifest.buffers.values():
            if name in other.dimensions and other.name in self.inputs:
                return f"in {other.name} ({self.inputs[other.name].label})"
        raise AssertionError(f"{name} has no origin")

    def _unsolved_error(self, buffer: Buffer) -> CallerError:
        unknown = sorted({name for expression in buffer.shape for name in expression.names} - self.names.keys())
        found = self.inputs[buffer.name]
        return CallerError(
            "symbol_unsolved",
            f"{found.label} has only a length, which does not give {' and '.join(unknown)} of {buffer.name} "
            f"{buffer.shape_text}",
            where=self._where(buffer),
            hint="give it as .npy, whose header has the shape",
        )


def _raw_hint(found: _Input) -> str | None:
    """Why a length was all that there was to go by, where the name of an object or a file is the reason."""
    source = found.source
    if isinstance(source, InlineSource):
        return None
    name = source.key if isinstance(source, ObjectSource) else source.path
    return raw.advice(name.rpartition("/")[2]) if format_of(name).NAME == raw.NAME else None


def _root(value: int, degree: int) -> int:
    """The whole number whose `degree`-th power is nearest to `value`, for values below 2**63."""
    if degree == 1:
        return value
    guess: int = round(value ** (1 / degree))
    for near in (guess, guess - 1, guess + 1):
        if near**degree == value:
            return near
    return guess
