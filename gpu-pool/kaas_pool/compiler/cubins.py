"""The cubins that a manifest gives for a source: checked, chosen by the device, and what their kernels take. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kaas.errors import AuthorError
from kaas.suggest import suggest
from kaas_pool.compiler.cubin import CubinFile, read_cubin
from kaas_pool.compiler.signatures import KernelParam, KernelSignature

#: Architecture (`sm_90`) and path in the bundle.
Cubins = Sequence[tuple[str, str]]


def choose(cubins: Cubins, compute_capability: tuple[int, int]) -> str | None:
    """The path of the cubin for a device: the same major version, and the highest minor that is not above its own."""
    major, minor = compute_capability
    fitting = {
        number: path
        for architecture, path in cubins
        for number in [int(architecture.removeprefix("sm_"))]
        if number // 10 == major and number % 10 <= minor
    }
    return fitting[max(fitting)] if fitting else None


def check_cubins(
    cubins: Cubins, files: Mapping[str, bytes], kernels: Sequence[str], where: str | None
) -> dict[str, CubinFile]:
    """What is in each cubin, by path.

    Raises AuthorError: `bundle_invalid` for a file that is none, or one for another architecture than said,
    `kernel_not_found` where a kernel is not in it.
    """
    found: dict[str, CubinFile] = {}
    for architecture, path in cubins:
        try:
            cubin = read_cubin(files[path])
        except ValueError as reason:
            raise AuthorError("bundle_invalid", f"{path} is no cubin: {reason}", where=where) from None
        if architecture != f"sm_{cubin.architecture}":
            raise AuthorError(
                "bundle_invalid",
                f"{path} is compiled for sm_{cubin.architecture}, and the manifest says {architecture}",
                where=where,
                hint=f"write sm_{cubin.architecture}: {path}, or compile it with -arch={architecture}",
            )
        for kernel in kernels:
            if kernel not in cubin.kernels:
                names = sorted(cubin.kernels)
                raise AuthorError(
                    "kernel_not_found",
                    f"{path} has no kernel {kernel!r}",
                    where=where,
                    hint=suggest(kernel, names) or f"its kernels: {', '.join(names[:20]) or 'none'}",
                )
        found[path] = cubin
    return found


def signatures_of(path: str, cubin: CubinFile, kernels: Sequence[str]) -> dict[str, KernelSignature]:
    """What kernels take, as far as a cubin tells: how many parameters of how many bytes."""
    return {kernel: _signature(path, kernel, cubin.kernels[kernel]) for kernel in kernels}


def check_source(
    path: str, cubin: CubinFile, wanted: Mapping[str, KernelSignature], where: str | None
) -> dict[str, KernelSignature]:
    """The source's signatures with the cubin's symbols; raises `signature_mismatch` if the two do not fit."""
    for kernel, signature in wanted.items():
        sizes = cubin.kernels[kernel]
        if sizes is None:
            continue
        told = [8 if one.is_pointer else one.size_bytes for one in signature.parameters]
        same = len(told) == len(sizes) and all(one in (None, size) for one, size in zip(told, sizes, strict=True))
        if not same:
            raise AuthorError(
                "signature_mismatch",
                f"{path} is compiled from another source: its {kernel} takes parameters of {_bytes(sizes)}, and that "
                f"of {signature.file} takes {', '.join(one.type for one in signature.parameters) or 'none'}",
                where=where,
                hint="compile it again: kaas build --arch",
            )
    return {kernel: signature.with_symbol(kernel) for kernel, signature in wanted.items()}


def _signature(path: str, kernel: str, sizes: tuple[int, ...] | None) -> KernelSignature:
    parameters = tuple(KernelParam(None, "", False, False, size) for size in sizes or ())
    return KernelSignature(kernel, True, parameters, path, 0, symbol=kernel, is_told=sizes is not None)


def _bytes(sizes: tuple[int, ...]) -> str:
    return f"{', '.join(map(str, sizes))} bytes" if sizes else "no bytes"
