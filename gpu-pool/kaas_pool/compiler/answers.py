"""What a compiler child's answer looks like.

The child has read a stranger's source, so each answer is checked, and texts that people read are made harmless.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from kaas.dtypes import shorten
from kaas.errors import AuthorError, KaasError
from kaas_pool.compiler.messages import CompiledSource, Unit, over_limit
from kaas_pool.frames import Frame
from kaas_pool.printed import harmless
from kaas_pool.sandbox.policy import COMPILER_LIMITS

#: How a compile may fail. Whatever else the error table has is decided elsewhere.
CODES = frozenset(
    {
        "bundle_invalid",
        "bundle_too_large",
        "compile_error",
        "compile_limit",
        "internal",
        "kernel_not_found",
        "not_supported",
        "pool_storage_full",
        "sandbox_unavailable",
        "signature_mismatch",
        "toolchain_missing",
    }
)

#: Of a log or a message; a compiler's have 60 lines, which may be long.
_MAX_TEXT = 1 << 20
#: No size, line, count or time is larger.
_MOST = 1 << 31

#: The types of a `KernelSignature`'s fields, its parameters aside.
_SIGNATURE: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "extern_c": (bool,),
    "file": (str,),
    "line": (int,),
    "template": (bool,),
    "symbol": (str,),
    "is_told": (bool,),
    "static_shared": (int,),
    "most_threads": (int, type(None)),
}
#: The types of a `KernelParam`'s fields.
_PARAMETER: Mapping[str, tuple[type, ...]] = {
    "name": (str, type(None)),
    "type": (str,),
    "is_pointer": (bool,),
    "is_const_pointee": (bool,),
    "size_bytes": (int, type(None)),
}


def read_answer(unit: Unit, frame: Frame, descriptors: Sequence[int]) -> CompiledSource:
    """The child's answer; closes the descriptors.

    Raises the error that the child answered with, and `compile_error` for what is no answer.
    """
    try:
        if frame["type"] == "error":
            raise _error(frame)
        _require(frame["type"] == "compiled", f"it is {shorten(frame['type'])}")
        _require(len(descriptors) == 1, f"{len(descriptors)} images came with it")
        seconds = frame["seconds"]
        _require(seconds.__class__ in (int, float) and 0 <= seconds <= _MOST, "its seconds are no time")
        _require(isinstance(frame["signatures"], dict), "its signatures are no object")
        signatures = {kernel: _signature(frame["signatures"][kernel]) for kernel in unit.kernels}
        return CompiledSource(unit, _image(unit, descriptors[0]), signatures, _text(frame["log"]), float(seconds))
    except (KeyError, ValueError) as lie:
        problem = f"it has no {lie}" if isinstance(lie, KeyError) else lie
        raise AuthorError(
            "compile_error",
            f"the compiler's answer is none: {problem}",
            where=unit.name,
            hint="the source has broken the compiler; simplify it",
        ) from lie
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _error(frame: Frame) -> KaasError:
    error = frame["error"]
    _require(isinstance(error, dict), "its error is no object")
    _require(isinstance(error["code"], str) and error["code"] in CODES, "its error has no code of a compiler's")
    told = {name: _text(error[name]) for name in ("hint", "where") if error.get(name) is not None}
    # The rest, such as when to try again, is not its to say.
    return KaasError.from_json({"code": error["code"], "message": _text(error["message"]), **told})


def _signature(item: Any) -> Mapping[str, Any]:
    """A signature that `KernelSignature.from_json` takes, in the form that came."""
    _check(item, {**_SIGNATURE, "parameters": (list,)})
    for parameter in item["parameters"]:
        _check(parameter, _PARAMETER)
    return dict(item)


def _check(item: Any, types: Mapping[str, tuple[type, ...]]) -> None:
    _require(isinstance(item, dict) and item.keys() == types.keys(), "a signature has other fields")
    for name, value in item.items():
        _require(value.__class__ in types[name], f"{name} of a signature is {shorten(value)}")
        if isinstance(value, str):
            _require(len(value) <= _MAX_TEXT, f"{name} of a signature is too long")
        elif isinstance(value, int):
            _require(0 <= value <= _MOST, f"{name} of a signature is {shorten(value)}")


def _image(unit: Unit, descriptor: int) -> bytes:
    # It may be no file, never end, or still grow.
    status = os.fstat(descriptor)
    _require(stat.S_ISREG(status.st_mode), "its image is no file")
    _require(status.st_size > 0, "its image is empty")
    if status.st_size > COMPILER_LIMITS.file_bytes:
        raise over_limit(f"the image has {status.st_size} bytes", unit.name)
    return os.pread(descriptor, status.st_size, 0)


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ValueError("a text is none, or too long")
    return harmless(value)


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)
