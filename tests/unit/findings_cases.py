"""Findings of small actions whose signatures are read from their text, without a compiler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from plan_cases import binding_of

from kaas.manifest import Manifest
from kaas_pool.compiler.signatures import read_signatures
from kaas_pool.findings import Finding, Subject, find
from kaas_pool.limits import Limits

#: `add` and `scale` say plainly what they read and write; of `mix` and `opaque` nothing is proven.
SOURCE = """\
extern "C" __global__ void add(const float *x, float *z, int n) { if (n > 0) z[n] = x[n]; }
extern "C" __global__ void scale(float *x, int n) { x[n] *= 2.0f; }
extern "C" __global__ void peek(float *x, float *z, int n) { z[n] = x[n]; }
extern "C" __global__ void opaque(float *x, float *z, int n) { f(x, z, n); }
extern "C" __global__ void store(float *z, int n) { z[n] = 1.0f; }
extern "C" __global__ void free(const float *x, float *z) { z[threadIdx.x] = x[threadIdx.x]; }
"""

FILE = "kernels.cu"


def subject_of(
    manifest: Manifest | str,
    *,
    source: str = SOURCE,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    limits: Limits | None = None,
    needs: Mapping[str, Any] | None = None,
    **parameters: Any,
) -> Subject:
    """What the rules look at; with `shapes` of the inputs, sizes are known. Sources in the manifest have no name.

    `needs` are the fields of every signature that only a compiler knows.
    """
    if isinstance(manifest, str):
        manifest = Manifest.parse(manifest)
    # The line markers that a preprocessor leaves: signatures carry the file's name.
    found = {signature.name: signature for signature in read_signatures(f'# 1 "{FILE}"\n{source}')}
    return Subject(
        manifest,
        {
            (step.source, step.kernel): replace(found[step.kernel], **(needs or {}))
            for step in manifest.kernel_steps
            if step.kernel in found and not step.source.compiled_only
        },
        texts={FILE: source},
        limits=limits or Limits(),
        binding=binding_of(manifest, shapes, **parameters) if shapes is not None else None,
    )


def found_in(manifest: str, **options: Any) -> list[Finding]:
    """What the rules find."""
    return find(subject_of(manifest, **options))


def action(graph: str, *, buffers: str = "", params: str = "", let: str = "") -> str:
    """A manifest with an input x, an output z, both of n floats, and more."""
    return f"""\
kaas: 1
name: test
params: {{{params}}}
buffers:
  x: {{io: in, dtype: float32, shape: [n]}}
  z: {{io: out, dtype: float32, shape: [n]}}
{_lines(buffers)}
let: {{{let}}}
graph:
{_lines(graph)}
"""


def launch(kernel: str, args: str, more: str = "threads: [n], block: [32]") -> str:
    """A kernel step in one line."""
    return f"- {{kernel: {kernel}, source: {FILE}, args: [{args}], {more}}}"


def _lines(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip("\n").splitlines())
