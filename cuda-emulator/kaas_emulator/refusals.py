"""What CUDA has and the emulator does not: how each is recognised, and what its author is told.

Two ways lead here: words that the host's compiler would not understand, or worse would pass on (inline PTX), are found
in the source; names and headers that it does not know are found in its messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kaas_emulator.device_source import TOKEN

TEXTURES = "a kernel action has no textures; read the buffer by index"
SURFACES = "a kernel action has no surfaces; write to a buffer by index"
RUNTIME = (
    "the CUDA runtime's functions cannot be called in a kernel action: the manifest says what is allocated and run"
)
LAUNCHES = "a kernel cannot be launched from a source: the manifest's graph launches it"
PTX = "inline PTX is not emulated; use CUDA's functions, or run this on a GPU"
MANAGED = "managed memory is not supported; use __device__ or a buffer"
CLUSTERS = "clusters of blocks are not supported"
SECTIONS = "sections whose names begin with .kaas are the emulator's own; give this one another name"
SINCE_VOLTA = "CUDA has removed it; the function that ends in _sync takes a mask of lanes as well"

#: Names of CUDA, as a whole, and why they are not known here.
_NAMES = (
    (r"texture|textureReference|tex(1D|2D|3D|Cubemap)\w*|cuda(Texture|ReadMode|FilterMode|AddressMode)\w*", TEXTURES),
    (r"surface|surfaceReference|surf(1D|2D|3D|Cubemap)\w*|cudaSurface\w*|cudaBoundaryMode\w*", SURFACES),
    (r"(__)?nv_bfloat16\w*|__\w*(bfloat|bf)16\w*", "bfloat16 is not emulated; use half or float, or run this on a GPU"),
    (r"(__)?nv_fp[468]\w*", "floats of 4, 6 and 8 bits are not emulated; run this on a GPU"),
    (r"nvcuda|wmma", "tensor cores are not emulated; run this on a GPU"),
    (r"cuda[A-Z]\w*|cu[A-Z][a-z]\w*", RUNTIME),
    (r"thrust|cub", "Thrust and CUB are not part of a kernel action's language; write it out"),
    (r"curand\w*", "cuRAND is not emulated; compute random numbers from a counter in the kernel"),
    (r"cuda", "libcu++ (namespace cuda) is not emulated"),
    (r"__shfl|__shfl_(up|down|xor)|__ballot|__any|__all", SINCE_VOLTA),
    (r"__is(Global|Shared|Constant|Local)|__cvta_\w+", "the emulated device has one address space only"),
)  # fmt: skip

#: Headers of CUDA, from their beginnings.
_HEADERS = (
    (r"mma\.h", "tensor cores are not emulated; run this on a GPU"),
    (r"cuda_bf16\.h", "bfloat16 is not emulated; use half or float, or run this on a GPU"),
    (r"cuda_fp[468]\.h", "floats of 4, 6 and 8 bits are not emulated; run this on a GPU"),
    (r"(cuda_)?texture", TEXTURES),
    (r"(cuda_)?surface", SURFACES),
    (r"curand", "cuRAND is not emulated; compute random numbers from a counter in the kernel"),
    (r"(thrust|cub)/", "Thrust and CUB are not part of a kernel action's language; write it out"),
    (r"(cuda|nv)/|cuda_(pipeline|awbarrier)", "libcu++ and its pipelines and barriers are not emulated"),
    (r"cooperative_groups/", "of cooperative groups the emulator has reduce.h, scan.h and memcpy_async.h"),
    (r"cu(blas|dnn|fft|sparse|solver|tensor)|cutlass|nccl", "a kernel action has device code only, and no libraries"),
)

_ABSENT = re.compile(r"(?P<header>\S+): No such file or directory")
_UNKNOWN = re.compile(
    r"'(?:[\w:]*::)?(?P<name>\w+)' (?:was not declared in this scope|does not name a (?:template )?type|"
    r"has not been declared|is not a (?:namespace-name|member of .*|class.*))"
)


def explain(message: str) -> str | None:
    """What to tell the author instead of the compiler's message, where it is about something of CUDA's."""
    absent = _ABSENT.search(message)
    if absent is not None:
        for pattern, reason in _HEADERS:
            if re.match(pattern, absent["header"]):
                return f"{absent['header']}: {reason}"
        return None
    unknown = _UNKNOWN.search(message)
    if unknown is not None:
        for pattern, reason in _NAMES:
            if re.fullmatch(pattern, unknown["name"]):
                return f"'{unknown['name']}': {reason}"
    return None


@dataclass(frozen=True)
class Refusal:
    """A place of the source that the emulator will not compile, and why."""

    file: str
    line: int
    reason: str


_MARKER = re.compile(r'#\s*(?:line\s+)?(?P<line>\d+)\s+"(?P<file>(?:[^"\\]|\\.)*)"(?P<flags>[ \d]*)')
_WORDS = {"__managed__": MANAGED, "__cluster_dims__": CLUSTERS}
_ASSEMBLY = {"asm", "__asm__", "__asm"}
#: What can put something into a section.
_NAMING = {"section", "__section__", *_ASSEMBLY}
#: Assembly with nothing in it, which only keeps the compiler from moving things, is the same everywhere.
_EMPTY = re.compile(r'\s*(?:volatile|__volatile__)?\s*\(\s*""\s*[:)]')


def refusals(text: str) -> Iterator[Refusal]:
    """What stands in preprocessed text, outside of the system's headers, and cannot be compiled for the host."""
    file, line, start, is_system = "", 1, 0, False
    braces: list[bool] = []
    words: list[str] = []
    for token in TOKEN.finditer(text):
        here = token.group()
        if token["directive"] is not None:
            marker = _MARKER.match(here.strip())
            if marker is not None:
                file, line, start = marker["file"], int(marker["line"]), token.end() + 1
                is_system = "3" in marker["flags"].split()
            continue
        reason = None
        if token.lastgroup == "word":
            words.append(here)
            reason = _WORDS.get(here)
            if here in _ASSEMBLY and not all(braces) and not _EMPTY.match(text, token.end()):
                reason = PTX
        elif token["text"] is not None and ".kaas" in here and not _NAMING.isdisjoint(words):
            reason = SECTIONS
        elif token["launch"] is not None:
            reason = LAUNCHES
        elif here == "{":
            braces.append(words[:1] == ["namespace"] or words == ["extern"])
        elif here == "}" and braces:
            braces.pop()
        if here in "{};":
            words = []
        if reason and not is_system:
            yield Refusal(file, line + text.count("\n", start, token.start()), reason)
