"""Kernel actions that print."""

from __future__ import annotations

from kaas.archive import write_archive

_BUFFERS = """
buffers:
  x: {io: in, dtype: int32, shape: [n]}
  z: {io: out, dtype: int32, shape: [n]}
graph:
"""

MANIFESTS = {
    # A line for each element.
    "say": _BUFFERS
    + "  - {kernel: say, source: all.cu, threads: [n], block: [32], args: [x, z, int32(n), int32(0)]}\n",
    # As often as `rounds` says, a launch each.
    "chat": "params: {rounds: {type: int64, default: 1000000000}}\n"
    + _BUFFERS
    + """
  - repeat:
      times: rounds
      as: k
      steps:
        - {kernel: say, source: all.cu, threads: [n], block: [32], args: [x, z, int32(n), int32(k)]}
""",
    "say_and_fault": _BUFFERS
    + "  - {kernel: say_and_fault, source: all.cu, grid: [1], block: [1], args: [x, z, int32(n)]}\n",
    "odd": _BUFFERS + "  - {kernel: odd, source: all.cu, grid: [1], block: [1], args: [x, z]}\n",
}

SOURCE = r"""
#include <stdio.h>

extern "C" __global__ void say(const int* x, int* z, int n, int round) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        printf("x[%d] is %d in round %d\n", i, x[i], round);
        z[i] = x[i];
    }
}

extern "C" __global__ void say_and_fault(const int* x, int* z, int n) {
    printf("before the fault: %d\n", x[0]);
    z[1l << 40] = n;
}

extern "C" __global__ void odd(const int* x, int* z) {
    printf("\033[31mred\tand\x7f\r\n\n\xff and \xe2\x82\xac and \xe2\x80\xae\n");
    printf("XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\nno end");
    z[0] = x[0];
}
"""


def bundle(name: str) -> bytes:
    """An action as it is uploaded."""
    manifest = f"kaas: 1\nname: '{name}'\n{MANIFESTS[name]}"
    return write_archive({"kaas.yaml": manifest.encode(), "all.cu": SOURCE.encode()})
