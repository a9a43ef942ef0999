"""Both compilers' refusals of too much shared memory, as authors see them."""

from __future__ import annotations

import pytest

from kaas_pool.compiler.shared_memory import shared_excess

FILES = {
    "a.cuh": b"template <typename T>\n__global__ void total(T *x) {}\n",
    "conv.cu": b'#include "a.cuh"\n\nextern "C" __global__ void __launch_bounds__(256)\nsum_up(float *x) {}\n',
}


@pytest.mark.parametrize(
    ("log", "name", "where"),
    [
        (
            "ptxas error: Entry function 'sum_up' uses too much shared data (0x13880 bytes, 0xc000 max)",
            "sum_up",
            "conv.cu:4",
        ),
        ("Entry function '_Z5totalIfEvPT_' uses too much shared data (0x13880 bytes, 0xc000 max)", "total", "a.cuh:2"),
        ("Entry function 'gone' uses too much shared data (0x13880 bytes, 0xc000 max)", "gone", None),
        (
            "kernel total<float>: error: 80000 bytes of static shared memory are more than the 49152 that a kernel can "
            "have; declare it extern",
            "total<float>",
            "a.cuh:2",
        ),
    ],
)
def test_too_much_is_told_in_bytes_at_the_kernel(log: str, name: str, where: str | None) -> None:
    found = shared_excess(f"something before\n{log}", FILES, "conv.cu")
    assert found is not None
    assert found.message == f"{name} declares 80000 bytes of static shared memory; a block may have 49152"
    assert found.where == where


def test_other_refusals_are_none() -> None:
    assert shared_excess("conv.cu(3): error: identifier 'shared' is undefined", FILES, "conv.cu") is None
