"""From the kernels that a manifest names to those that a source declares."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from kaas.errors import AuthorError
from kaas.suggest import suggest
from kaas_pool.compiler.signatures import KernelSignature, candidates


def resolve(
    wanted: Sequence[str],
    found: Sequence[KernelSignature],
    source: str,
    asked: Mapping[str, str] | None = None,
    text: str = "",
) -> dict[str, KernelSignature]:
    """The signature of each wanted kernel, its `symbol` being how C++ names it: `space::f<float, 256>`.

    A kernel is wanted by its source-level name or by its mangled symbol; `asked` says where; `text`
    is the source, preprocessed, and serves the messages. Raises `kernel_not_found`
    where there is none or more than one, with the candidates.
    """
    return {name: _resolve(name, found, source, (asked or {}).get(name), text) for name in wanted}


def _resolve(name: str, found: Sequence[KernelSignature], source: str, asked: str | None, text: str) -> KernelSignature:
    spoken = _demangled(name) or name
    matching = candidates(found, spoken)
    if not matching:
        raise _missing(name, spoken, found, source, asked, text)
    if len(matching) > 1:
        choices = ", ".join(f"{one.name}({_types(one)}) in line {one.line}" for one in matching)
        raise AuthorError(
            "kernel_not_found",
            f"{source} has several kernels that {name!r} may mean: {choices}",
            where=asked or source,
            hint="write the namespace in front; overloads cannot be told apart, give them different names",
        )
    (one,) = matching
    _, bracket, arguments = spoken.partition("<")
    return one.with_symbol(f"{one.name}{bracket}{arguments}" if one.template else one.name)


def _missing(
    name: str, spoken: str, found: Sequence[KernelSignature], source: str, asked: str | None, text: str
) -> AuthorError:
    names = list(dict.fromkeys(one.name for one in found))
    templates = [one for one in found if one.template and one.name.rpartition("::")[2] == spoken.rpartition("::")[2]]
    if templates:
        hint = f"{templates[0].name} is a template: write its arguments, as in {templates[0].name}<float>"
    elif re.search(rf"\bvoid\s+{re.escape(spoken)}\s*\(", text):
        hint = f"it has a function {spoken}, which is no kernel: write __global__ before its void"
    elif not names:
        hint = "a kernel is a function marked __global__, at namespace level and not switched off by the preprocessor"
    else:
        hint = suggest(spoken, names) or f"its kernels: {', '.join(names[:20])}"
    return AuthorError("kernel_not_found", f"{source} has no kernel {name!r}", where=asked or source, hint=hint)


def _types(signature: KernelSignature) -> str:
    return ", ".join(parameter.type for parameter in signature.parameters)


def _demangled(symbol: str) -> str | None:
    """`space::f<float, 256>` for `_ZN5space1fIfLi256EEEvPT_`; None for what is no mangled name."""
    if not symbol.startswith("_Z"):
        return None
    status = ctypes.c_int()
    answer = _cxa_demangle()(symbol.encode(), None, None, ctypes.byref(status))
    if status.value != 0 or not answer:
        return None
    text = ctypes.string_at(answer).decode("utf-8", "replace")
    ctypes.CDLL(None).free(ctypes.c_void_p(answer))
    depth, start = 0, 0
    for at, character in enumerate(text):
        if character == "(" and depth == 0:
            return text[start:at]
        depth += character == "<"
        depth -= character == ">"
        if character == " " and depth == 0:
            start = at + 1  # The name follows the last word outside brackets: before it is a template's return type.
    return text[start:]


@cache
def _cxa_demangle() -> Any:
    function = ctypes.CDLL("libstdc++.so.6").__cxa_demangle
    function.restype = ctypes.c_void_p
    return function
