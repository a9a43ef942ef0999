"""Cubins: which of them a device takes, and that any bytes are read or refused."""

from __future__ import annotations

import importlib.util
import struct
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaas.errors import AuthorError
from kaas_pool.compiler import nvrtc
from kaas_pool.compiler.cubin import read_cubin
from kaas_pool.compiler.cubins import check_cubins, choose

needs_nvrtc = pytest.mark.skipif(importlib.util.find_spec("cuda") is None, reason="the extra 'gpu' is not installed")

SOURCE = """
struct Five { int numbers[5]; };
__device__ __noinline__ float inner(float x) { return x * x; }
extern "C" __global__ void axpy(float a, const float *x, float *y, int n) {
    if (threadIdx.x < n) y[threadIdx.x] += a * inner(x[threadIdx.x]);
}
extern "C" __global__ void nothing() {}
__device__ float swapped(float x) {
    __shared__ float inner[32];
    inner[threadIdx.x] = x;
    __syncthreads();
    return inner[31 - threadIdx.x];
}
extern "C" __global__ void __launch_bounds__(96, 2) block(float *x) {
    __shared__ float own[300];
    own[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = swapped(own[299 - threadIdx.x]);
}
template <typename T> __global__ void scale(T *x, Five five, char c) { x[0] *= five.numbers[2] + c; }
"""


@cache
def cubin(major: int = 9, minor: int = 0) -> bytes:
    return nvrtc.compile_cubin(
        SOURCE,
        "a.cu",
        compute_capability=(major, minor),
        include=[],
        defines=[],
        expressions=["axpy", "nothing", "block", "scale<float>"],
    ).image


@needs_nvrtc
@pytest.mark.parametrize(("major", "minor"), [(7, 5), (8, 0), (8, 6), (9, 0), (10, 0), (12, 0)])
def test_a_cubin_tells_its_architecture_and_what_its_kernels_take(major: int, minor: int) -> None:
    found = read_cubin(cubin(major, minor))
    assert found.architecture == 10 * major + minor
    takes = {"axpy": (4, 8, 8, 4), "nothing": (), "block": (8,), "_Z5scaleIfEvPT_4Fivec": (8, 20, 1)}
    assert found.kernels == takes
    assert (found.static_shared, found.most_threads) == ({"block": 332 * 4}, {"block": 96})


@needs_nvrtc
def test_what_is_no_cubin_is_refused_with_the_reason() -> None:
    data = cubin()
    for broken, reason in (
        (b"", "does not begin"),
        (b"\x7fELF", "tables are broken"),
        (data[:200], "tables are broken"),
        (data[:40] + b"\xff" * 8 + data[48:], "tables are broken"),
        (data[:-2000], r"beyond the end|tables are broken"),
        (data[:18] + struct.pack("<H", 62) + data[20:], "another machine"),
        (data[:4] + b"\x01" + data[5:], "another machine"),
    ):
        with pytest.raises(ValueError, match=reason):
            read_cubin(broken)


@needs_nvrtc
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=30))
def test_a_damaged_cubin_is_read_or_refused(damage: list[tuple[int, int]]) -> None:
    data = bytearray(cubin())
    for at, value in damage:
        data[at % len(data)] = value
    try:
        read_cubin(bytes(data))
    except ValueError as reason:
        assert str(reason)


@given(st.binary(max_size=500))
def test_any_bytes_behind_the_mark_are_read_or_refused(data: bytes) -> None:
    head = b"\x7fELF\x02\x01\x01\x33\x07" + bytes(9) + struct.pack("<H", 190)
    try:
        read_cubin(head + data)
    except ValueError as reason:
        assert str(reason)


CUBINS = [("sm_70", "a"), ("sm_75", "b"), ("sm_80", "c"), ("sm_86", "d"), ("sm_120", "e")]


@pytest.mark.parametrize(
    ("device", "path"),
    [
        ((7, 0), "a"),
        ((7, 2), "a"),
        ((7, 5), "b"),
        ((8, 0), "c"),
        ((8, 5), "c"),
        ((8, 6), "d"),
        ((8, 9), "d"),
        ((12, 0), "e"),
        ((12, 1), "e"),
        ((6, 1), None),
        ((9, 0), None),
        ((1, 2), None),
    ],
)
def test_the_highest_of_the_same_major_version_that_is_not_above_the_device(
    device: tuple[int, int], path: str | None
) -> None:
    assert choose(CUBINS, device) == path


@needs_nvrtc
@pytest.mark.parametrize(
    ("cubins", "kernels", "code", "message", "hint"),
    [
        (
            [("sm_80", "k.cubin")],
            ["axpy"],
            "bundle_invalid",
            "compiled for sm_90, and the manifest says sm_80",
            "sm_90",
        ),
        ([("sm_90", "bad.cubin")], ["axpy"], "bundle_invalid", "bad.cubin is no cubin", None),
        ([("sm_90", "k.cubin")], ["axpi"], "kernel_not_found", "has no kernel 'axpi'", "did you mean 'axpy'"),
        ([("sm_90", "k.cubin")], ["inner"], "kernel_not_found", "has no kernel 'inner'", "its kernels:"),
    ],
)
def test_cubins_are_checked_against_the_manifest(
    cubins: list[tuple[str, str]], kernels: list[str], code: str, message: str, hint: str | None
) -> None:
    files = {"k.cubin": cubin(), "bad.cubin": b"\x7fELF and more"}
    with pytest.raises(AuthorError, match=message) as caught:
        check_cubins(cubins, files, kernels, "kaas.yaml:3 graph[0].kernel")
    assert (caught.value.code, caught.value.where) == (code, "kaas.yaml:3 graph[0].kernel")
    assert hint is None or hint in str(caught.value.hint)
