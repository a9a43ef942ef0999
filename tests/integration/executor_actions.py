"""Small kernel actions that show one thing each, compiled once per session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from executor_process import Action, ExecutorProcess, Front

from kaas.archive import write_archive
from kaas.bundle import Bundle
from kaas_pool.compiler.local import compile_bundle
from kaas_pool.compiler.messages import Target

MANIFESTS = {
    "saxpy": """
params: {a: {type: float32, default: 2}}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  y: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - {kernel: saxpy, source: all.cu, threads: [n], block: [128], args: [a, x, y, z, int32(n)]}
""",
    # Writes its input `x` and its inout `y`.
    "in_place": """
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  y: {io: inout, dtype: float32, shape: [n]}
graph:
  - {kernel: accumulate, source: all.cu, threads: [n], block: [128], args: [x, y, int32(n)]}
""",
    "smooth": """
params: {rounds: {type: int32, default: 3}}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - repeat:
      times: rounds
      as: k
      swap: [x, z]
      steps:
        - {kernel: smooth, source: all.cu, threads: [n], block: [128], args: [x, z, int32(n), float32(k)]}
""",
    # A loop that nobody waits for.
    "long": """
params: {rounds: {type: int64, default: 1000000000}}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n], zero: true}
graph:
  - repeat:
      times: rounds
      steps:
        - {kernel: accumulate, source: all.cu, threads: [n], block: [128], args: [x, z, int32(n)]}
""",
    "fault": """
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - {kernel: fault, source: all.cu, grid: [1], block: [1], args: [x, z]}
""",
    # Block sizes grow with the index, beyond any device's limit.
    "too_wide": """
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - repeat:
      times: 20
      as: k
      steps:
        - {kernel: nothing, source: all.cu, grid: [1], block: [2 ** k], args: []}
""",
    # What `t` holds before anything wrote to it.
    "peek": """
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  t: {io: temp, dtype: float32, shape: [n]}
  u: {io: temp, dtype: float32, shape: [n], zero: true}
  z: {io: out, dtype: float32, shape: [n]}
  w: {io: out, dtype: float32, shape: [n]}
graph:
  - {copy: {from: t, to: z}}
  - {copy: {from: u, to: w}}
  - {kernel: nothing, source: all.cu, grid: [1], block: [1], args: []}
""",
    # Leaves sevens in as much memory as `peek` has.
    "paint": """
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  t: {io: temp, dtype: float32, shape: [n]}
  u: {io: temp, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
  w: {io: out, dtype: float32, shape: [n]}
graph:
  - {fill: {buffer: t, value: 7}}
  - {fill: {buffer: u, value: 7}}
  - {fill: {buffer: z, value: 7}}
  - {fill: {buffer: w, value: 7}}
  - {kernel: nothing, source: all.cu, grid: [1], block: [1], args: []}
""",
    "null": """
buffers:
  x: {io: const, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [1]}
graph:
  - {kernel: nothing, source: all.cu, grid: [1], block: [1], args: []}
""",
    "loop": """
params: {rounds: {type: int32, default: 3000}}
buffers:
  x: {io: const, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
  t: {io: temp, dtype: float32, shape: [n]}
graph:
  - repeat:
      times: rounds
      swap: [z, t]
      steps:
        - {kernel: smooth, source: all.cu, threads: [n], block: [32], args: [t, z, int32(n), float32(1)]}
""",
    # Halves x until its first element is small enough.
    "settle": """
params: {most: {type: int32, default: 100}, tol: {type: float32, default: 1}, every: {type: int32, default: 1}}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - repeat:
      times: most
      swap: [x, z]
      until: {buffer: z, below: tol, every: every}
      steps:
        - {kernel: scale, source: all.cu, threads: [n], block: [128], args: [x, z, int32(n), float32(0.5)]}
  - {copy: {from: x, to: z}}
""",
    # Inner loops that end early, inside one that ends early, inside one by index.
    "settle_often": """
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  z: {io: inout, dtype: float32, shape: [n]}
graph:
  - repeat:
      times: 3
      as: i
      steps:
        - repeat:
            times: 4
            until: {buffer: z, below: 10 - 4 * i}
            steps:
              - repeat:
                  times: 5 + i
                  until: {buffer: z, below: 12 - 4 * i, every: 2}
                  steps:
                    - {kernel: add, source: all.cu, threads: [n], block: [128], args: [z, int32(n), float32(-1)]}
  - repeat:
      times: 0
      until: {buffer: z, below: 0}
      steps:
        - {kernel: add, source: all.cu, threads: [n], block: [128], args: [z, int32(n), float32(-1)]}
""",
    # A loop that only a value ends, and the value does not come.
    "unsettled": """
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - repeat:
      times: 1000000000
      until: {buffer: x, below: -1}
      steps:
        - {kernel: scale, source: all.cu, threads: [n], block: [128], args: [x, z, int32(n), float32(0.5)]}
""",
    # Four branches from one input, of several steps each, in a loop, joined in the end.
    "branches": """
params: {rounds: {type: int32, default: 10}}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  a: {io: temp, dtype: float32, shape: [n]}
  b: {io: temp, dtype: float32, shape: [n], zero: true}
  c: {io: temp, dtype: float32, shape: [n]}
  d: {io: temp, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n], zero: true}
graph:
  - repeat:
      times: rounds
      as: k
      steps:
        - {kernel: scale, source: all.cu, threads: [n], block: [128], args: [x, a, int32(n), float32(k)]}
        - {kernel: scale, source: all.cu, threads: [n], block: [128], args: [x, c, int32(n), float32(2)]}
        - {kernel: scale, source: all.cu, threads: [n], block: [128], args: [x, d, int32(n), float32(3)]}
        - {kernel: add, source: all.cu, threads: [n], block: [128], args: [b, int32(n), float32(1)]}
        - {kernel: scale, source: all.cu, threads: [n], block: [128], args: [x, x, int32(n), float32(1)]}
        - {kernel: sum, source: all.cu, threads: [n], block: [128], args: [a, c, z, int32(n)]}
        - {kernel: sum, source: all.cu, threads: [n], block: [128], args: [b, d, z, int32(n)]}
""",
    # Temporaries that take turns: 2n floats at once, of 4n.
    "turns": """
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  a: {io: temp, dtype: float32, shape: [n]}
  b: {io: temp, dtype: float32, shape: [n]}
  c: {io: temp, dtype: float32, shape: [n], zero: true}
  d: {io: temp, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n], zero: true}
graph:
  - {kernel: scale, source: all.cu, threads: [n], block: [128], args: [x, a, int32(n), float32(2)]}
  - {kernel: scale, source: all.cu, threads: [n], block: [128], args: [a, b, int32(n), float32(2)]}
  - {kernel: sum, source: all.cu, threads: [n], block: [128], args: [b, x, c, int32(n)]}
  - {kernel: scale, source: all.cu, threads: [n], block: [128], args: [c, d, int32(n), float32(2)]}
  - {kernel: sum, source: all.cu, threads: [n], block: [128], args: [d, x, z, int32(n)]}
""",
    # Dynamic shared memory beside 4,000 bytes of static: in all over 48 KiB.
    "shared": """
params: {size: {type: int32, default: 60000}}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - {kernel: through_shared, source: all.cu, grid: [1], block: [128], shared: size, args: [x, z, int32(n), size]}
""",
    "patterns": """
params: {d: {type: float64, default: 0.1}}
buffers:
  b: {io: out, dtype: int16, shape: [13]}
  d8: {io: out, dtype: float64, shape: [13]}
  c16: {io: out, dtype: complex128, shape: [13]}
graph:
  - {fill: {buffer: b, value: 258}}
  - {fill: {buffer: d8, value: d}}
  - {fill: {buffer: c16, value: [1.5, -2.5]}}
  - {kernel: nothing, source: all.cu, grid: [1], block: [1], args: []}
""",
}

SOURCE = """
extern "C" __global__ void nothing() {}

extern "C" __global__ void saxpy(float a, const float *x, const float *y, float *z, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[i] = a * x[i] + y[i];
}

// y += x, and x becomes the new y.
extern "C" __global__ void accumulate(float *x, float *y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        y[i] += x[i];
        x[i] = y[i];
    }
}

extern "C" __global__ void smooth(const float *x, float *z, int n, float k) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[i] = 0.5f * (x[i] + x[(i + 1) % n]) + k;
}

extern "C" __global__ void scale(const float *x, float *z, int n, float k) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[i] = k * x[i];
}

extern "C" __global__ void add(float *z, int n, float k) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[i] += k;
}

extern "C" __global__ void sum(const float *x, const float *y, float *z, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[i] += x[i] + y[i];
}

// Through the end of the dynamic shared memory, and the static one.
extern "C" __global__ void through_shared(const float *x, float *z, int n, int size) {
    __shared__ float fixed[1000];
    extern __shared__ float dynamic[];
    float *end = dynamic + size / 4 - 1;
    for (int i = 0; i < n; i++) {
        if (threadIdx.x == 0) {
            *end = x[i];
            fixed[999] = *end;
            z[i] = fixed[999];
        }
        __syncthreads();
    }
}

extern "C" __global__ void fault(const float *x, float *z) {
    z[0] = x[1L << 40];
}
"""


class Actions:
    """Compiles each action when it is first asked for; `images` keeps what was compiled."""

    def __init__(self, images: Path, manifests: Mapping[str, str] = MANIFESTS, source: str = SOURCE) -> None:
        self.images = images
        self._manifests = manifests
        self._source = source
        self._actions: dict[str, Action] = {}

    def __getitem__(self, name: str) -> Action:
        if name not in self._actions:
            manifest = f"kaas: 1\nname: '{name}'\n{self._manifests[name]}".encode()
            bundle = Bundle.open(write_archive({"kaas.yaml": manifest, "all.cu": self._source.encode()}))
            self._actions[name] = Action(bundle, compile_bundle(bundle, Target("emulated"), images=self.images))
        return self._actions[name]


@pytest.fixture(scope="session")
def actions(tmp_path_factory: pytest.TempPathFactory) -> Actions:
    """The actions, compiled as they are asked for."""
    return Actions(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExecutorProcess]:
    """One process for all of these tests: nothing here ends it."""
    with ExecutorProcess(tmp_path_factory.mktemp("scratch")) as process:
        yield process


@pytest.fixture
def front(executor: ExecutorProcess) -> Iterator[Front]:
    """A new link, and nothing in the cache."""
    with executor.attach() as front:
        front.set_budget(0)
        front.pending()
        front.usage.clear()
        yield front
