"""What a cubin is for and which kernels are in it, read from its ELF tables. Pure, and safe for any bytes.

The layout is that of 64-bit ELF with the sections that NVIDIA's tools write (`.text.KERNEL`, `.nv.info.KERNEL`), as
`readelf` and `cuobjdump -elf` show them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_ATTRIBUTE = struct.Struct("<BBH")
_PARAMETER = struct.Struct("<IHHI")
_THREADS = struct.Struct("<III")

_CUDA = 190  # EM_CUDA
_SYMBOL_TABLE = 2  # SHT_SYMTAB
_FUNCTION = 2  # STT_FUNC
_ENTRY = 0x10  # STO_CUDA_ENTRY: a kernel, and no function of the device's own.
_SIZED = 4  # EIFMT_SVAL: the attribute has so many bytes behind it.
_PARAMETER_INFO = 0x17  # EIATTR_KPARAM_INFO
_MOST_THREADS = 0x05  # EIATTR_MAX_THREADS, of __launch_bounds__

#: From sm_90 on the first bytes of a kernel's shared memory are the system's.
_SYSTEM_SHARED_FROM = 90
_SYSTEM_SHARED_BYTES = 1024

#: From this version of the ABI on the architecture stands in the second byte of the flags, before in the first.
_SECOND_BYTE = 8

#: Far more than any compiler writes; bounds the time for a file that lies.
_MAX_SECTIONS = 1 << 16


@dataclass(frozen=True)
class CubinFile:
    """`architecture` is 90 for sm_90. `kernels` maps each kernel's symbol to the bytes of its parameters in order, or
    to None where the file does not tell.

    `static_shared` has the bytes of static shared memory of the kernels that have any, `most_threads` the threads of a
    block of those that have a launch bound.
    """

    architecture: int
    kernels: Mapping[str, tuple[int, ...] | None]
    static_shared: Mapping[str, int] = field(default_factory=dict)
    most_threads: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Section:
    name: str
    kind: int
    content: memoryview
    link: int
    size: int


def read_cubin(data: bytes) -> CubinFile:
    """Read a cubin; raises ValueError with what is wrong about it."""
    try:
        return _read(data)
    except (struct.error, IndexError, OverflowError) as error:
        raise ValueError(f"its tables are broken: {error}") from None


def section(data: bytes, name: str) -> bytes:
    """The content of a section of any 64-bit ELF file; raises ValueError where there is none of that name."""
    try:
        return next(bytes(one.content) for one in _sections(data) if one.name == name)
    except (struct.error, IndexError, OverflowError, StopIteration) as error:
        raise ValueError(f"it has no section {name}") from error


def _read(data: bytes) -> CubinFile:
    if data[:4] != b"\x7fELF":
        raise ValueError("it does not begin as an ELF file does")
    ident, _, machine, _, _, _, _, flags, _, _, _, _, _, _ = _HEADER.unpack_from(data)
    if ident[4:6] != b"\x02\x01" or machine != _CUDA:
        raise ValueError("it is an ELF file for another machine, not for NVIDIA's")
    sections = list(_sections(data))
    architecture = (flags >> 8 if ident[8] >= _SECOND_BYTE else flags) & 0xFF
    info = {one.name.removeprefix(".nv.info."): one.content for one in sections if one.name.startswith(".nv.info.")}
    attributes = {name: list(_attributes(info[name])) if name in info else None for name in _entries(sections)}
    shared = {one.name.removeprefix(".nv.shared."): one.size for one in sections if one.name.startswith(".nv.shared.")}
    system = _SYSTEM_SHARED_BYTES if architecture >= _SYSTEM_SHARED_FROM else 0
    return CubinFile(
        architecture,
        {name: _parameters(found) for name, found in attributes.items()},
        {name: max(shared[name] - system, 0) for name in attributes if name in shared},
        {name: math.prod(bound) for name, found in attributes.items() for bound in _bounds(found or [])},
    )


def _sections(data: bytes) -> Iterator[_Section]:
    fields = _HEADER.unpack_from(data)
    start, size, count, names_at = fields[6], fields[11], fields[12], fields[13]
    if size != _SECTION.size or count > _MAX_SECTIONS:
        raise ValueError("its table of sections has another form")
    raw = [_SECTION.unpack_from(data, start + at * size) for at in range(count)]
    names = bytes(_content(data, raw[names_at])) if raw else b""
    for entry in raw:
        yield _Section(_text(names, entry[0]), entry[1], _content(data, entry), entry[6], entry[5])


def _content(data: bytes, entry: tuple[int, ...]) -> memoryview:
    kind, offset, size = entry[1], entry[4], entry[5]
    if kind in (0, 8):  # SHT_NULL and SHT_NOBITS have no bytes in the file.
        return memoryview(b"")
    if offset + size > len(data):
        raise ValueError("a section reaches beyond the end of the file")
    return memoryview(data)[offset : offset + size]


def _entries(sections: list[_Section]) -> Iterator[str]:
    for table in sections:
        if table.kind != _SYMBOL_TABLE:
            continue
        names = bytes(sections[table.link].content)
        for name, kind, other, _, _, _ in _SYMBOL.iter_unpack(table.content):
            if kind & 0xF == _FUNCTION and other & _ENTRY:
                yield _text(names, name)


def _attributes(info: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The attributes of a kernel that have bytes of their own."""
    at = 0
    while at < len(info):
        form, attribute, size = _ATTRIBUTE.unpack_from(info, at)
        at += _ATTRIBUTE.size
        if form != _SIZED:
            continue
        yield attribute, info[at : at + size]
        at += size


def _parameters(attributes: list[tuple[int, memoryview]] | None) -> tuple[int, ...] | None:
    """The sizes of a kernel's parameters."""
    if attributes is None:
        return None
    sizes: dict[int, int] = {}
    for attribute, content in attributes:
        if attribute == _PARAMETER_INFO:
            _, ordinal, _, packed = _PARAMETER.unpack_from(content)
            sizes[ordinal] = packed >> 18
    if sorted(sizes) != list(range(len(sizes))):
        return None
    return tuple(sizes[ordinal] for ordinal in range(len(sizes)))


def _bounds(attributes: list[tuple[int, memoryview]]) -> Iterator[tuple[int, ...]]:
    """The launch bound of a kernel that has one: threads along x, y and z."""
    return (_THREADS.unpack_from(content) for attribute, content in attributes if attribute == _MOST_THREADS)


def _text(names: bytes, at: int) -> str:
    end = names.find(b"\0", at)
    return names[at : end if end >= 0 else len(names)].decode("utf-8", "replace")
