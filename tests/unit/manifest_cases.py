"""Manifests that several test modules use: one that has every feature, and ways to break it."""

from __future__ import annotations

import copy
from typing import Any

import yaml
from hypothesis import strategies as st

from kaas._yaml import Node

SAXPY = """\
kaas: 1
name: saxpy
description: z = a*x + y
params:
  a: {type: float32, default: 1.0}
buffers:
  x: {io: in,  dtype: float32, shape: [n]}
  y: {io: in,  dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - kernel: saxpy
    source: saxpy.cu
    threads: [n]
    block: [256]
    args: [a, x, y, z, int32(n)]
"""

#: Every key this release runs, once at least.
FULL = """\
kaas: 1
name: everything
description: every key once
params:
  a: {type: float32, default: 1.0, description: a factor}
  iters: {type: int32, default: 3}
  c: {type: complex64, default: [1, -1]}
  flag: {type: bool, default: true}
  worst: {type: float64, default: nan}
buffers:
  x: {io: in, dtype: float32, shape: [n, 2], description: pairs, freshness: pinned}
  w: {io: const, dtype: float32, shape: [n]}
  s: {io: inout, dtype: float32, shape: [half]}
  z: {io: out, dtype: float32, shape: [n, 2], zero: true}
  t: {io: temp, dtype: float32, shape: [n, "1 + 1"]}
  v: {io: out, dtype: bool, shape: []}
  m: {io: const, dtype: int16, shape: [n, 1], from: s3://data/m.npy, freshness: pinned}
let:
  half: n // 2
  scale: 1 / sqrt(half + 1)
graph:
  - kernel: ns::pairs<float, 2>
    source: src/pairs.cu
    threads: [n, 2]
    block: [32, 2]
    shared: 4 * half
    args: [a, c, x, z, int32(n), float32(scale), null, {buffer: x, offset: half * 4}, {buffer: w}]
    defines: {TILE: 16, NAME: float, FAST: true}
  - fill: {buffer: t, value: a * 2}
  - fill: {buffer: v, value: true}
  - copy: {from: t, to: z}
  - repeat:
      times: iters
      as: k
      swap: [z, t]
      steps:
        - kernel: step
          source: |
            extern "C" __global__ void step(const float* x, float* t, int k) {}
          grid: ["ceil_div(n, 256)", 1, 1]
          block: [256]
          args: [x, t, "int32(min(k, n))"]
        - repeat:
            times: k + 1
            as: inner
            until: {buffer: t, below: a / 2, every: k + 1}
            steps:
              - fill: {buffer: t, value: k * inner}
  - kernel: _Z3gemPKfPf
    source: src/gem.cu
    cubins: {sm_100: bin/gem.sm_100.cubin, sm_90: bin/gem.sm_90.cubin}
    grid: [1]
    block: [256]
    args: [x, t]
    reads: [x, t]
    writes: [t]
  - kernel: raw
    cubins: {sm_80: bin/raw.cubin}
    grid: [65536, 1]
    block: [1024]
    args: [m, {buffer: v}]
    reads: [m]
    writes: [v]
rename: {image: x, factor: a}
freshness: max_age=2.5
events: {input: x}
rights: caller
"""

_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["n", "x", "a", "k", "z", "n * 2", "int32(n)", "ceil_div(n", "s3://b/k", "nan", "|", "in"]),
    st.lists(st.sampled_from(["n", "x", 1, None, [1]]), max_size=4),
    st.dictionaries(st.sampled_from(["buffer", "offset", "from", "to", "value", "times", "steps"]), st.integers()),
)
_KEYS = st.sampled_from(
    [
        "zero",
        "until",
        "grid",
        "texture",
        "_x",
        "kernel",
        "description",
        "rename",
        "freshness",
        "reads",
        "cubins",
    ]
)


@st.composite
def damaged_trees(draw: st.DrawFn, text: str) -> str:
    """A manifest with up to three values replaced, removed or added."""
    tree = yaml.safe_load(text)
    for _ in range(draw(st.integers(1, 3))):
        node = tree
        while True:
            key = draw(st.sampled_from(list(node) if isinstance(node, dict) else list(range(len(node)))))
            if not (isinstance(node[key], (dict, list)) and node[key] and draw(st.integers(0, 3))):
                break
            node = node[key]
        action = draw(st.sampled_from(["replace", "delete", "add"]))
        if action == "replace":
            node[key] = copy.deepcopy(draw(_VALUES))
        elif action == "delete" and len(node) > 1:
            del node[key]
        elif isinstance(node, dict):
            node[draw(_KEYS)] = copy.deepcopy(draw(_VALUES))
    return yaml.safe_dump(tree, sort_keys=False)


def plain(node: Node) -> Any:
    """A read YAML tree as dicts, lists and scalars."""
    if isinstance(node.value, dict):
        return {key: plain(value) for key, value in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value
