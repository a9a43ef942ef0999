"""Plans of small manifests over real signatures, without a device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaas.binding import Binding, ObjectInfo, bind
from kaas.call import Call
from kaas.formats import format_of
from kaas.manifest import Manifest
from kaas_pool.compiler.signatures import read_signatures
from kaas_pool.limits import Limits
from kaas_pool.operations import Leaf, Permutation, walk
from kaas_pool.plan import Plan
from kaas_pool.signature_check import Signatures

SOURCE = """
extern "C" __global__ void axpy(float a, const float *x, float *y, int n) {}
extern "C" __global__ void average(const float *x, float *y, int n, int k) {}
extern "C" __global__ void mixed(char c, double d, short s, float *p, bool b, unsigned long long u) {}
extern "C" __global__ void pair(float2 c, double2 z, const float2 *p) {}
extern "C" __global__ void nothing() {}
template <typename T, int N> __global__ void scale(T factor, T *x) {}
"""

HEAD = """
kaas: 1
name: test
params:
  a: {type: float32, default: 2}
  k: {type: int32, default: 3}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  y: {io: inout, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n], zero: true}
  t: {io: temp, dtype: float32, shape: [n]}
  c: {io: const, dtype: float32, shape: [n]}
graph:
"""


def manifest_of(graph: str, head: str = HEAD) -> Manifest:
    """A manifest whose graph has these lines."""
    return Manifest.parse(head + graph)


def signatures_of(manifest: Manifest, source: str = SOURCE) -> Signatures:
    """What the reader finds, by the names in the manifest."""
    found = {signature.name: signature for signature in read_signatures(source)}
    return {(step.source, step.kernel): found[step.kernel.partition("<")[0]] for step in manifest.kernel_steps}


def binding_of(manifest: Manifest, shapes: Mapping[str, tuple[int, ...]], **parameters: Any) -> Binding:
    """Every input of the shape given."""
    arguments: dict[str, Any] = dict(parameters)
    objects: dict[str, ObjectInfo] = {}
    for buffer in manifest.inputs:
        reference = f"s3://bucket/{buffer.name}.npy"
        head = format_of(reference).make_header(buffer.dtype, shapes[buffer.name])
        size = buffer.dtype.itemsize
        for extent in shapes[buffer.name]:
            size *= extent
        objects[reference] = ObjectInfo("etag", len(head) + size, head)
        arguments[buffer.name] = reference
    call = Call.parse(manifest, arguments, activation_id="id", outputs_prefix="s3://bucket/out")
    return bind(manifest, call, objects)


def plan_of(graph: str, n: int = 1000, *, head: str = HEAD, limits: Limits | None = None, **parameters: Any) -> Plan:
    """The plan of a graph, with every input of `n` elements."""
    manifest = manifest_of(graph, head)
    binding = binding_of(manifest, {buffer.name: (n,) for buffer in manifest.inputs}, **parameters)
    return Plan.build(manifest, binding, signatures_of(manifest), limits or Limits())


def calls_of(plan: Plan) -> list[tuple[Leaf, Permutation]]:
    """Every operation in order, with the storages at that moment."""
    start = tuple(range(len(plan.buffers)))
    return list(walk(plan.operations, plan.names, start, lambda leaf, permutation: (leaf, permutation)))
