"""Whether a manifest's arguments fit the kernels' parameters, told before anything runs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from kaas.dtypes import DTYPES, DType
from kaas.errors import AuthorError
from kaas.graph import Arg, BufferArg, KernelStep, NullArg, ParamArg, Source
from kaas.manifest import Manifest
from kaas_pool.compiler.signatures import KernelParam, KernelSignature

if TYPE_CHECKING:
    from kaas_pool.compiler.messages import CompiledSource

#: float and integer scalars, vector types such as float2, and what the text of a type does not tell (a template's T).
CKind = Literal["float", "integer", "vector", "unknown"]

_FLOATS = frozenset({"float", "double", "half", "__half", "__nv_bfloat16"})
_INTEGER = re.compile(
    r"(?:std::)?(?:u?int(?:8|16|32|64)_t|u?intptr_t|size_t|ptrdiff_t|clock_t|uint|uchar|ushort|ulong)"
    r"|(?:(?:unsigned|signed|bool|char|short|int|long)\s*)+"
)
_VECTOR = re.compile(r"(?:u?char|u?short|u?int|u?long|u?longlong|float|double|half|__half)[1-4]|__nv_bfloat162|dim3")
_INTEGER_BYTES = {"char": 1, "bool": 1, "short": 2, "int": 4, "long": 8}
_POINTER_BYTES = 8
_BYTES = frozenset({"uint8", "int8", "bool"})

#: A source and the kernel's name in the manifest.
Kernel = tuple[Source, str]
Signatures = Mapping[Kernel, KernelSignature]


def signatures_of(compiled: Iterable[CompiledSource]) -> Signatures:
    """The signatures of a manifest's compiled sources."""
    return {
        (one.unit.source, kernel): KernelSignature.from_json(item)
        for one in compiled
        for kernel, item in one.signatures.items()
    }


def check_compiled(manifest: Manifest, compiled: Iterable[CompiledSource]) -> None:
    """As `check_signatures`, with the signatures of the manifest's compiled sources."""
    check_signatures(manifest, signatures_of(compiled))


def check_signatures(manifest: Manifest, signatures: Signatures) -> None:
    """Compare every step's arguments with its kernel; raises AuthorError `signature_mismatch` with the place."""
    for mismatch in mismatches(manifest, signatures):
        raise mismatch


def mismatches(manifest: Manifest, signatures: Signatures) -> Iterator[AuthorError]:
    """Everything that `check_signatures` would raise, in the order written; steps without a signature are left out."""
    for step in manifest.kernel_steps:
        signature = signatures.get((step.source, step.kernel))
        if signature is None or not signature.is_told:
            continue
        if len(step.args) != len(signature.parameters):
            takes = ", ".join(_declared(parameter) for parameter in signature.parameters) or "nothing"
            yield AuthorError(
                "signature_mismatch",
                f"{step.kernel} takes {len(signature.parameters)} arguments, and the step gives {len(step.args)}",
                where=step.place("args"),
                hint=f"{step.kernel} takes {takes}",
            )
            continue
        for position, (arg, parameter) in enumerate(zip(step.args, signature.parameters, strict=True)):
            problem = _problem(manifest, arg, parameter) or _declared_problem(step, arg, parameter, signature)
            if problem is not None:
                message, hint = problem
                yield AuthorError(
                    "signature_mismatch",
                    f"{step.kernel}'s parameter {_declared(parameter)} {message}",
                    where=step.place(f"args[{position}]"),
                    hint=hint,
                )


def _problem(manifest: Manifest, arg: Arg, parameter: KernelParam) -> tuple[str, str | None] | None:
    """What is wrong and what to do, or None."""
    if not parameter.type:
        return _size_problem(manifest, arg, parameter)
    is_pointer = parameter.is_pointer or parameter.size_bytes is None
    if isinstance(arg, BufferArg):
        if not is_pointer:
            return f"is no pointer, and the step gives the buffer {arg.buffer}", "pass a value, such as int32(n)"
        return _element_problem(manifest.buffers[arg.buffer].dtype, arg, parameter)
    if isinstance(arg, NullArg):
        return None if is_pointer else ("is no pointer, and the step gives null", None)
    if isinstance(arg, ParamArg):
        dtype, given = manifest.params[arg.param].dtype, f"parameter {arg.param}"
    else:
        assert arg.value.dtype is not None
        dtype, given = DTYPES[arg.value.dtype], arg.value.text
    if parameter.is_pointer:
        return f"is a pointer, and the step gives {given} ({dtype.name})", "pass a buffer"
    if _fits(dtype, kind_of(parameter.type), parameter.size_bytes):
        return None
    names = _names_that_fit(parameter)
    return f"does not take {given}, which is {dtype.name}", f"give it {' or '.join(names)}" if names else None


def _size_problem(manifest: Manifest, arg: Arg, parameter: KernelParam) -> tuple[str, str | None] | None:
    """Of a parameter in a cubin only the size is known."""
    if isinstance(arg, BufferArg):
        size, given = _POINTER_BYTES, f"the buffer {arg.buffer}, whose address has {_POINTER_BYTES}"
    elif isinstance(arg, NullArg):
        size, given = _POINTER_BYTES, f"null, which has {_POINTER_BYTES}"
    elif isinstance(arg, ParamArg):
        dtype = manifest.params[arg.param].dtype
        size, given = dtype.itemsize, f"parameter {arg.param}, which is {dtype.name} and has {dtype.itemsize}"
    else:
        assert arg.value.dtype is not None
        size = DTYPES[arg.value.dtype].itemsize
        given = f"{arg.value.text}, which has {size}"
    if size == parameter.size_bytes:
        return None
    return f"does not take {given}", "compare with the source of the cubin: order, number and types of the parameters"


def _declared_problem(
    step: KernelStep, arg: Arg, parameter: KernelParam, signature: KernelSignature
) -> tuple[str, str | None] | None:
    """What `reads` and `writes` say and the signature denies."""
    if not isinstance(arg, BufferArg) or not parameter.is_pointer or (step.reads is None and step.writes is None):
        return None
    name = arg.buffer
    is_written = name in (step.writes or ())
    if not parameter.is_const_pointee:
        hint = f"write `const` in the source if the kernel does not write it; else add {name} to writes"
        return None if is_written else (f"may be written through, and writes does not name {name}", hint)
    passed = (
        other
        for other, given in zip(signature.parameters, step.args, strict=True)
        if isinstance(given, BufferArg) and given.buffer == name
    )
    if is_written and not any(other.writes for other in passed):
        return f"cannot be written through, and writes names {name}", f"take {name} out of writes"
    return None


def _element_problem(dtype: DType, arg: BufferArg, parameter: KernelParam) -> tuple[str, str | None] | None:
    pointee = parameter.type.rstrip("*& ")
    if not parameter.is_pointer or "*" in pointee:
        return None
    kind, size = kind_of(pointee), size_of(pointee)
    # Bytes may be anything; a 2-byte word may be a bfloat16, for which NumPy has no name.
    if size is None or size == 1 or dtype.name in _BYTES or (dtype.name == "uint16" and size == dtype.itemsize):
        return None
    if _fits(dtype, kind, size) or (dtype.kind == "c" and kind == "float" and 2 * size == dtype.itemsize):
        return None
    fitting = [one.name for one in DTYPES.values() if _fits(one, kind, size)]
    return (
        f"points to {pointee.replace('const', '').strip()}, and {arg.buffer} is an array of {dtype.name}",
        f"declare {arg.buffer} as {' or '.join(fitting)}, or change the type in the kernel"
        if fitting
        else "declare the buffer with the kernel's element type",
    )


def _fits(dtype: DType, kind: CKind, size: int | None) -> bool:
    if kind == "unknown" or size is None:
        return True
    wanted = {"f": "float", "c": "vector"}.get(dtype.kind, "integer")
    return size == dtype.itemsize and kind == wanted


def _names_that_fit(parameter: KernelParam) -> list[str]:
    kind = kind_of(parameter.type)
    return [dtype.name for dtype in DTYPES.values() if _fits(dtype, kind, parameter.size_bytes)]


def kind_of(text: str) -> CKind:
    """The kind of a C type, by its text."""
    name = _plain(text)
    if name in _FLOATS:
        return "float"
    if _INTEGER.fullmatch(name):
        return "integer"
    return "vector" if _VECTOR.fullmatch(name) else "unknown"


def size_of(text: str) -> int | None:
    """Bytes of a scalar C type, by its text; None for any other."""
    name = _plain(text)
    if name in _FLOATS:
        return {"float": 4, "double": 8}.get(name, 2)
    if not _INTEGER.fullmatch(name):
        return None
    if digits := re.search(r"\d+", name):
        return int(digits[0]) // 8
    words = re.findall(r"char|bool|short|long|int", name.replace("uchar", "char").replace("ushort", "short"))
    if any(word in name for word in ("size_t", "ptr", "clock_t", "ulong")):
        return 8
    return min((_INTEGER_BYTES[word] for word in words if word != "int"), default=4)


def _plain(text: str) -> str:
    return re.sub(r"\b(?:const|volatile)\b", " ", text).strip()


def _declared(parameter: KernelParam) -> str:
    if not parameter.type:
        return f"of {parameter.size_bytes} bytes"
    return f"'{parameter.type} {parameter.name}'" if parameter.name else f"'{parameter.type}'"
