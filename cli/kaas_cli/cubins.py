"""Compiles the cubins that a manifest declares beside its sources, by NVRTC; no GPU is needed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kaas.bundle import ZIP, Bundle
from kaas.errors import AuthorError, KaasError
from kaas_cli.output import USAGE, Failure
from kaas_pool.compiler import CompiledSource, Target, Unit
from kaas_pool.compiler.local import compile_units

_ARCHITECTURE = re.compile(r"sm_(\d{1,2})(\d)")


def target_of(architecture: str) -> Target:
    """What `sm_90` is compiled for; raises Failure for what is no architecture."""
    found = _ARCHITECTURE.fullmatch(architecture)
    if found is None:
        raise Failure(
            f"{architecture!r} is no architecture",
            where="--arch",
            hint="sm_ and the compute capability without its point, such as sm_90 for 9.0",
            status=USAGE,
        )
    return Target("cuda", (int(found[1]), int(found[2])))


def make_cubins(
    folder: Path, architectures: Sequence[str], *, images: Path | None = None, allow_unsandboxed: bool = False
) -> dict[str, bytes]:
    """The cubins for `architectures`, by their paths in the bundle. Raises KaasError, or Failure for a slip."""
    manifest, files = Bundle.read(folder)
    bundle = Bundle(manifest, files, "", ZIP, {})
    made: dict[str, bytes] = {}
    for architecture in dict.fromkeys(architectures):
        target = target_of(architecture)
        declared = {unit: path for unit in Unit.all_of(manifest) if (path := _path(unit, architecture)) is not None}
        if not declared:
            raise Failure(
                f"no step with a source has a cubin for {architecture}",
                where=f"--arch {architecture}",
                hint=f"declare where it goes, beside source: cubins: {{{architecture}: kernels.{architecture}.cubin}}",
            )
        for unit, path in declared.items():
            image = _compile(bundle, unit, target, images, allow_unsandboxed)
            if made.setdefault(path, image) != image:
                raise AuthorError(
                    "manifest_invalid",
                    f"two compiles would go to {path}: of other sources, macros or architectures",
                    where=unit.places[0],
                    hint="give each its own path",
                )
    return made


def _path(unit: Unit, architecture: str) -> str | None:
    return None if unit.source.compiled_only else dict(unit.source.cubins).get(architecture)


def _compile(bundle: Bundle, unit: Unit, target: Target, images: Path | None, allow_unsandboxed: bool) -> bytes:
    from_source = Unit(replace(unit.source, cubins=()), unit.kernels, unit.places)
    ((_, compiled),) = compile_units(
        bundle, target, images=images, allow_unsandboxed=allow_unsandboxed, units=[from_source]
    )
    if isinstance(compiled, KaasError):
        raise compiled
    _check_symbols(compiled)
    return compiled.image


def _check_symbols(compiled: CompiledSource) -> None:
    """In the zip kernels are found by their symbols, so the manifest has to use these."""
    for kernel, place in zip(compiled.unit.kernels, compiled.unit.places, strict=True):
        symbol = compiled.signatures[kernel]["symbol"]
        if symbol != kernel:
            raise AuthorError(
                "kernel_not_found",
                f"{kernel!r} is not the symbol of the kernel in the cubin, which is {symbol!r}",
                where=place,
                hint=f'write kernel: {symbol}, or make the kernel extern "C"',
            )
