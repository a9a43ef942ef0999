"""What each kernel takes of a block's resources, read from the assembly that the host's compiler made of a source.

There, as in ptxas, only that counts which is left after optimising: the shared variables that a kernel, or anything it
can reach, still refers to. The driver and the pool find the numbers in a section of the image. Pure.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

#: Bytes of static shared memory that a kernel can have on any GPU.
MOST_STATIC_SHARED = 48 << 10

#: The section of an image that says it: `kaas_abi::Resources` for each kernel, in the order of the image's table.
SECTION = ".kaas.resources"

#: The compiler's message where it is not as it was written.
NOT_AS_WRITTEN = (
    f"error: the image's section {SECTION} holds more than the emulator wrote into it, or cannot be found: "
    "the source has one of the same name, or too many sections"
)

#: Variables of the generated source: the address of the kernel of that number; in a kernel, its launch bound.
KERNEL = "kaas_kernel_"
LAUNCH_BOUND = "kaas_launch_bound"

_RECORD = struct.Struct("<II")
#: Of a 64-bit ELF file: where its table of sections is, bytes of one, how many, which has the names. Of a section: its
#: name's place, and those of its content.
_FILE = struct.Struct("<40xQ10xHHH")
_HEADER = struct.Struct("<I20xQQ")
_MOST_THREADS = 1024
_SYMBOL = re.compile(r"[A-Za-z_][\w.$]*")
_LABEL = re.compile(r"(?P<name>[A-Za-z_][\w.$]*):")
_SIZE = re.compile(r"\t\.size\t(?P<name>[\w.$]+), (?P<bytes>[0-9]{1,18})$")
_ALIGNMENT = re.compile(r"\t\.align (?P<bytes>[1-9][0-9]{0,8})$")
_WORD = re.compile(r"\t\.long\t(?P<value>[0-9]{1,18})$")
_ALIAS = re.compile(r"\t\.set\t(?P<name>[\w.$]+),(?P<other>[\w.$]+)$")
#: The device language's own variables, which are thread-local as well.
_OWN = "_ZN11kaas_device"


@dataclass(frozen=True)
class Resources:
    """Bytes of static shared memory of a block, and the most threads it may be launched with."""

    static_shared: int = 0
    threads: int = _MOST_THREADS


@dataclass
class _Program:
    """The symbols of an assembly: what each refers to, how large and how aligned it is, what its first word is."""

    refers: dict[str, set[str]] = field(default_factory=dict)
    shared: dict[str, tuple[int, int]] = field(default_factory=dict)
    words: dict[str, int] = field(default_factory=dict)

    def reached(self, start: str) -> set[str]:
        found, open_ = {start}, [start]
        while open_:
            new = self.refers.get(open_.pop(), set()) - found
            found |= new
            open_ += new
        return found


def read(assembly: str, count: int) -> list[Resources]:
    """The resources of the `count` kernels of an assembly, in the order of the image's table."""
    program = _read(assembly)
    return [_of_kernel(program, f"_ZL{len(name)}{name}") for name in (f"{KERNEL}{index}" for index in range(count))]


def _of_kernel(program: _Program, variable: str) -> Resources:
    reached = program.reached(variable)
    size = 0
    for name, (bytes_, alignment) in program.shared.items():
        if name in reached:
            size += -size % alignment + bytes_
    bounds = [program.words[name] for name in map(_bound_of, program.refers.get(variable, ())) if name in program.words]
    return Resources(size, min([_MOST_THREADS, *bounds]))


def _bound_of(kernel: str) -> str:
    """The symbol of the variable in a kernel that holds its launch bound, as the Itanium C++ ABI names it."""
    encoded = kernel[2:] if kernel.startswith("_Z") else f"{len(kernel)}{kernel}"
    return f"_ZZ{encoded}E{len(LAUNCH_BOUND)}{LAUNCH_BOUND}"


def _read(assembly: str) -> _Program:
    program = _Program()
    sizes: dict[str, int] = {}
    name, is_shared, alignment = "", False, 1
    for line in assembly.splitlines():
        label = _LABEL.match(line)
        if label is not None:
            # The part of a function that is rarely run stands elsewhere, under a name of its own.
            name = label["name"].removesuffix(".cold")
            program.refers.setdefault(name, set())
            if is_shared and not name.startswith(_OWN):
                program.shared[name] = (sizes.get(name, 0), alignment)
            alignment = 1
        elif line.startswith("\t.section"):
            is_shared = line.startswith(("\t.section\t.tbss", "\t.section\t.tdata"))
            if line.startswith("\t.section\t.debug"):
                name = ""
        elif (aligned := _ALIGNMENT.match(line)) is not None:
            alignment = int(aligned["bytes"])
        elif (size := _SIZE.match(line)) is not None:
            sizes[size["name"]] = int(size["bytes"])
        elif (alias := _ALIAS.match(line)) is not None:
            program.refers.setdefault(alias["name"], set()).add(alias["other"])
        elif name and line.startswith("\t") and (line[1] != "." or line.startswith(("\t.quad", "\t.long"))):
            program.refers[name].update(_SYMBOL.findall(line, 2))
            if (word := _WORD.match(line)) is not None:
                program.words.setdefault(name, int(word["value"]))
    return program


def over_limit(kernels: Sequence[str], found: Sequence[Resources]) -> str:
    """The compiler's messages about kernels that have too much static shared memory; empty where none has."""
    return "\n".join(
        f"kernel {name}: error: {one.static_shared} bytes of static shared memory are more than the "
        f"{MOST_STATIC_SHARED} that a kernel can have; declare it extern and give the step shared: bytes"
        for name, one in zip(kernels, found, strict=True)
        if one.static_shared > MOST_STATIC_SHARED
    )


def section(found: Sequence[Resources]) -> str:
    """The assembly of the section that tells them."""
    words = "".join(f"\t.long\t{one.static_shared}, {one.threads}\n" for one in found)
    return f'\t.section\t{SECTION},"",@progbits\n{words}'


def from_section(content: bytes) -> Iterator[Resources]:
    """The resources that a section tells, in the order of the image's table."""
    return (Resources(*record) for record in _RECORD.iter_unpack(content))


def are_told(found: Sequence[Resources], image: bytes) -> bool:
    """Whether an image's section tells these and nothing else: a source can put things into a section of any name."""
    start, size, count, names = _FILE.unpack_from(image)
    headers = [_HEADER.unpack_from(image, start + at * size) for at in range(count)]
    if names >= count:  # More sections than the header can count.
        return False
    texts = headers[names][1]
    contents = [
        image[place : place + length]
        for name, place, length in headers
        if image.startswith(f"{SECTION}\0".encode(), texts + name)
    ]
    return contents == [b"".join(_RECORD.pack(one.static_shared, one.threads) for one in found)]
