"""Upload a kernel action, store its result, read that back in a second call, compare: what `helm test` runs.

`python3 invocation.py s3://bucket/prefix`, with KAAS_POOL_URL and KAAS_TOKEN in the environment.
"""

import os
import sys

from kaas.client import PoolClient, bearer
from kaas.errors import KaasError

ACTION = b"""\
kaas: 1
name: helm-test
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  y: {io: out, dtype: float32, shape: [n]}
graph:
  - kernel: twice
    source: |
      extern "C" __global__ void twice(const float *x, float *y, int n) {
          int i = blockIdx.x * blockDim.x + threadIdx.x;
          if (i < n) y[i] = 2 * x[i];
      }
    threads: [n]
    block: [64]
    args: [x, y, int32(n)]
"""


def main(prefix: str) -> str:
    """What came of it; raises KaasError, or SystemExit with what is wrong."""
    stored = f"{prefix}/y.npy"
    with PoolClient(os.environ["KAAS_POOL_URL"], bearer(os.environ["KAAS_TOKEN"])) as pool:
        for arguments in ({"x": [1, 2, 3], "y": stored}, {"x": stored, "y": "inline"}):
            invocation = pool.invoke(ACTION, arguments)
            if invocation.error is not None:
                raise invocation.error
    assert invocation.result is not None
    if invocation.result["y"] != [4, 8, 12]:
        raise SystemExit(f"wrong: four times [1, 2, 3] came back as {invocation.result['y']}")
    return f"right: the pool computed, stored {stored} and read it again; {invocation.result['kaas']['stats']}"


if __name__ == "__main__":
    try:
        sys.stdout.write(main(*sys.argv[1:]) + "\n")
    except KaasError as error:
        raise SystemExit(f"{error.code}: {error}") from error
