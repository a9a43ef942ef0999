"""Binding: symbols, shapes, sizes, sources and targets."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_cases import FULL, SAXPY
from safetensors.numpy import save

from kaas.binding import (
    Binding,
    BoundBuffer,
    BundleFile,
    InlineSource,
    InlineTarget,
    ObjectInfo,
    ObjectSource,
    ObjectTarget,
    bind,
)
from kaas.call import Call
from kaas.dtypes import DTYPES, TypedScalar
from kaas.errors import CallerError
from kaas.formats import Layout, npy
from kaas.formats.safetensors import header_bytes
from kaas.manifest import Manifest

MANIFEST = Manifest.parse(SAXPY)


def stored(shape: tuple[int, ...], dtype: str = "float32", etag: str = "e") -> ObjectInfo:
    """What the store says about an .npy object."""
    header = npy.make_header(DTYPES[dtype], shape)
    return ObjectInfo(etag, len(header) + math.prod(shape) * DTYPES[dtype].itemsize, header)


def raw(size: int, etag: str = "r") -> ObjectInfo:
    return ObjectInfo(etag, size)


def bound(
    manifest: Manifest | str,
    arguments: dict[str, Any],
    objects: dict[str, ObjectInfo] | None = None,
    files: dict[str, Layout] | None = None,
) -> Binding:
    if isinstance(manifest, str):
        manifest = Manifest.parse(manifest)
    call = Call.parse(manifest, arguments, activation_id="f00")
    return bind(manifest, call, {f"s3://data/{key}": info for key, info in (objects or {}).items()}, files)


def action(buffers: str, let: str = "{}", params: str = "{}", steps: str = "") -> Manifest:
    """An action with these buffers and a kernel that uses none of them."""
    graph = steps or "[{kernel: k, source: k.cu, grid: [1], block: [1]}]"
    return Manifest.parse(f"kaas: 1\nname: test\nparams: {params}\nlet: {let}\nbuffers:\n{buffers}\ngraph: {graph}\n")


XYZ = {"x": "s3://data/x.npy", "y": "s3://data/y.npy", "z": "s3://data/z.npy"}


def test_saxpy() -> None:
    binding = bound(
        MANIFEST, {**XYZ, "a": 2}, {"x.npy": stored((1000,), etag="e1"), "y.npy": stored((1000,), etag="e2")}
    )
    assert binding.params == {"a": TypedScalar("float32", 2.0)}
    assert binding.symbols == {"n": 1000}
    assert binding.names == {"n": 1000, "a": 2.0}
    assert binding.buffers["x"] == BoundBuffer(
        "x", "in", "float32", (1000,), 4000, False, ObjectSource("s3", "data", "x.npy", "e1", None, 128, 4000), None
    )
    header = npy.make_header(DTYPES["float32"], (1000,))
    assert binding.buffers["z"] == BoundBuffer(
        "z", "out", "float32", (1000,), 4000, False, None, ObjectTarget("s3", "data", "z.npy", header, None)
    )
    assert binding.device_bytes == 3 * 4096


def test_bindings_are_frozen() -> None:
    binding = bound(MANIFEST, {"x": [1], "y": [1], "z": "inline"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        binding.params = {}  # type: ignore[misc]


def test_everything_survives_the_way_to_another_process() -> None:
    arguments = {
        "x": "s3://data/x.npy",
        "w": "s3://data/w?versionId=v1&offset=8&size=20",
        "s": "s3://data/s.npy",
        "z": "inline",
        "v": "s3://data/v.npy",
        "worst": "nan",
        "c": [0, "inf"],
    }
    objects = {
        "x.npy": stored((5, 2)),
        "w?versionId=v1": raw(100),
        "s.npy": stored((2,), etag="es"),
        "m.npy": stored((5, 1), "int16", etag="em"),
    }
    binding = bound(FULL, arguments, objects)
    assert binding.symbols == {"n": 5, "half": 2, "scale": 1 / math.sqrt(3)}
    assert binding.buffers["w"].source == ObjectSource("s3", "data", "w", "r", "v1", 8, 20)
    assert binding.buffers["m"].source == ObjectSource("s3", "data", "m.npy", "em", None, 128, 10)
    assert binding.buffers["z"].target == InlineTarget(as_base64=False)
    assert binding.buffers["v"].shape == ()
    again = Binding.from_json(json.loads(json.dumps(binding.to_json(), allow_nan=False)))
    assert again.to_json() == binding.to_json()
    assert again.buffers == binding.buffers
    assert again.symbols == binding.symbols
    assert again.names.keys() == binding.names.keys()
    assert math.isnan(float(again.names["worst"]))


def test_infinite_let_and_bundle_files_survive_too() -> None:
    manifest = action(
        "  w: {io: const, dtype: int8, shape: [n], from: w.bin}\n  z: {io: out, dtype: int8, shape: [n]}",
        let="{far: worst * 2}",
        params="{worst: {type: float32, default: inf}}",
    )
    binding = bound(manifest, {"z": "base64"}, files={"w.bin": Layout(None, None, 0, 7)})
    assert binding.buffers["w"].source == BundleFile("w.bin", 0)
    assert binding.symbols == {"n": 7, "far": math.inf}
    assert Binding.from_json(json.loads(json.dumps(binding.to_json(), allow_nan=False))) == binding


def test_inline_inputs() -> None:
    binding = bound(MANIFEST, {"x": [1, 2, 3], "y": {"base64": "AACAPwAAgD8AAIA/"}, "z": "inline"})
    assert binding.buffers["x"].source == InlineSource(np.array([1, 2, 3], "f4").tobytes())
    assert binding.buffers["y"].source == InlineSource(np.ones(3, "f4").tobytes())
    assert Binding.from_json(json.loads(json.dumps(binding.to_json()))) == binding


def test_rendering() -> None:
    binding = bound(MANIFEST, {"x": [1, 2], "y": [1, 2], "z": "inline"})
    assert binding.buffers["z"].render(np.array([3, 4], "f4").tobytes()) == [3.0, 4.0]
    binding = bound(MANIFEST, {"x": [1, 2], "y": [1, 2], "z": "base64"})
    assert binding.buffers["z"].render(bytes(8))["shape"] == [2]


# Symbols


def test_shapes_solve_symbols_and_check_the_rest() -> None:
    manifest = action(
        "  a: {io: in, dtype: float32, shape: [m, k]}\n"
        "  b: {io: in, dtype: float32, shape: [k, n]}\n"
        "  p: {io: in, dtype: float32, shape: [2 * m, 3, rows, h]}\n"
        "  c: {io: out, dtype: float32, shape: [m, n]}\n"
        "  t: {io: temp, dtype: int8, shape: ['ceil_div(m * n, 4)']}",
        let="{h: n // 2}",
        params="{rows: {type: int32}}",
    )
    arguments = {name: f"s3://data/{name}.npy" for name in "abp"} | {"c": "inline", "rows": 5}
    good = {"a.npy": stored((3, 4)), "b.npy": stored((4, 6)), "p.npy": stored((6, 3, 5, 3))}
    binding = bound(manifest, arguments, good)
    assert binding.symbols == {"m": 3, "k": 4, "n": 6, "h": 3}
    assert binding.buffers["t"].shape == (5,)
    assert binding.buffers["c"].shape == (3, 6)
    for changed, part in (
        ({"b.npy": stored((5, 6))}, "k is 5 in b (s3://data/b.npy) and 4 in a (s3://data/a.npy)"),
        ({"p.npy": stored((7, 3, 5, 3))}, "dimension 0 of p (s3://data/p.npy) is 7, and 2 * m is 6 (m = 3)"),
        ({"p.npy": stored((6, 4, 5, 3))}, "p has the shape [6, 4, 5, 3], and [6, 3, 5, 3] is needed"),
        ({"p.npy": stored((6, 3, 6, 3))}, "rows is 6 in p (s3://data/p.npy) and 5 as a parameter"),
        ({"p.npy": stored((6, 3, 5, 4))}, "h is 4 in p (s3://data/p.npy) and 3 by let: n // 2"),
        ({"a.npy": stored((3,))}, "s3://data/a.npy has the shape [3], and a is declared as [m, k]"),
    ):
        with pytest.raises(CallerError) as caught:
            bound(manifest, arguments, {**good, **changed})
        assert caught.value.code == "shape_mismatch"
        assert caught.value.message == part
        assert caught.value.where == f"arguments.{next(iter(changed))[0]}"


@pytest.mark.parametrize(
    ("shape", "size", "symbols"),
    [
        ("[n]", 400, {"n": 100}),
        ("[n, 4]", 160, {"n": 10}),
        ("[n, n]", 400, {"n": 10}),
        ("[n, n]", 0, {"n": 0}),
        ("[n, m]", 4 * 3 * 7, {"n": 7}),
        ("[half, q]", 4 * 1 * 5, {"q": 5}),
        ("['m + 1', q]", 4 * 4 * 5, {"q": 5}),
        ("[3]", 12, {}),
        ("[]", 4, {}),
    ],
)
def test_lengths_solve_one_symbol(shape: str, size: int, symbols: dict[str, int]) -> None:
    manifest = action(
        f"  m_: {{io: in, dtype: float32, shape: [m]}}\n  x: {{io: in, dtype: float32, shape: {shape}}}",
        let="{half: m // 2}",
    )
    binding = bound(manifest, {"m_": [1, 2, 3], "x": "s3://data/x.bin"}, {"x.bin": raw(size)})
    assert binding.symbols == {"m": 3, "half": 1, **symbols}


def test_lengths_solve_one_after_the_other() -> None:
    manifest = action(
        "  c: {io: in, dtype: int8, shape: [a, b, c_]}\n"
        "  b_: {io: in, dtype: int8, shape: [a, b]}\n"
        "  a_: {io: in, dtype: int8, shape: [a]}"
    )
    binding = bound(
        manifest,
        {"c": "s3://data/c", "b_": "s3://data/b", "a_": "s3://data/a"},
        {"a": raw(2), "b": raw(6), "c": raw(24)},
    )
    assert binding.symbols == {"a": 2, "b": 3, "c_": 4}


@pytest.mark.parametrize(
    ("shape", "size", "code", "part"),
    [
        ("[p, q]", 40, "symbol_unsolved", "does not give p and q of x [p, q]"),
        ("['2 * p', p, q]", 40, "symbol_unsolved", "p and q"),
        ("[z0, q]", 0, "symbol_unsolved", "does not give q"),
        ("[q]", 41, "size_mismatch", "41 bytes, no multiple of the 4 of float32"),
        ("[q, 3]", 40, "size_mismatch", "has 10 elements, which no q makes [q, 3]"),
        ("[q, q]", 40, "size_mismatch", "has 10 elements, which no q makes [q, q]"),
        ("[3]", 40, "size_mismatch", "has 40 bytes, and x [3] of float32 needs 12"),
        ("[m, 2]", 40, "size_mismatch", "needs 24 (m = 3)"),
    ],
)
def test_lengths_that_do_not_fit(shape: str, size: int, code: str, part: str) -> None:
    manifest = action(
        "  m_: {io: in, dtype: float32, shape: [m]}\n"
        "  q_: {io: in, dtype: float32, shape: [z0]}\n"
        f"  x: {{io: in, dtype: float32, shape: {shape}}}\n"
    )
    with pytest.raises(CallerError) as caught:
        bound(manifest, {"m_": [1, 2, 3], "q_": [], "x": "s3://data/x.bin"}, {"x.bin": raw(size)})
    assert caught.value.code == code
    assert part in caught.value.message
    assert caught.value.where == "arguments.x"
    if code == "size_mismatch":
        assert (caught.value.hint or "").startswith("x.bin is read as raw bytes, since its name ends in neither .npy")


def test_an_archive_of_arrays_is_refused_by_name() -> None:
    with pytest.raises(CallerError, match=r"s3://data/x\.npz is by its name an archive") as caught:
        bound(MANIFEST, {**XYZ, "x": "s3://data/x.npz"}, {"x.npz": raw(400), "y.npy": stored((100,))})
    assert (caught.value.code, caught.value.where) == ("format_invalid", "arguments.x")
    assert "numpy.save writes .npy" in (caught.value.hint or "")


@given(st.integers(0, 2**20), st.integers(1, 5))
def test_powers_are_solved_exactly(extent: int, times: int) -> None:
    count = extent**times
    if count > 1 << 60:
        return
    manifest = action(f"  x: {{io: in, dtype: int8, shape: [{', '.join(['n'] * times)}]}}")
    assert bound(manifest, {"x": "s3://data/x"}, {"x": raw(count)}).symbols == {"n": extent}


@given(st.lists(st.integers(0, 6), min_size=1, max_size=4), st.sampled_from(list(DTYPES)))
def test_any_shape_of_names_is_solved_from_a_header(shape: list[int], dtype: str) -> None:
    names = [f"s{index}" for index in range(len(shape))]
    manifest = action(
        f"  x: {{io: in, dtype: {dtype}, shape: [{', '.join(names)}]}}\n"
        f"  z: {{io: out, dtype: int8, shape: [{' + '.join(names)}]}}"
    )
    binding = bound(manifest, {"x": "s3://data/x.npy", "z": "inline"}, {"x.npy": stored(tuple(shape), dtype)})
    assert binding.symbols == dict(zip(names, shape, strict=True))
    assert binding.buffers["z"].shape == (sum(shape),)
    assert binding.buffers["x"].nbytes == math.prod(shape) * DTYPES[dtype].itemsize


# Data that do not fit


@pytest.mark.parametrize(
    ("arguments", "objects", "code", "where", "part"),
    [
        ({}, {"x.npy": stored((3,))}, "object_not_found", "y", "s3://data/y.npy does not exist"),
        ({"y": [1, 2]}, {"x.npy": stored((3,))}, "shape_mismatch", "y", "n is 2 in y (its inline value) and 3 in x"),
        ({"y": 1}, {"x.npy": stored((3,))}, "shape_mismatch", "y", "its inline value has the shape []"),
        ({"x": [1]}, {"y.npy": stored((1,), "float64")}, "dtype_mismatch", "y", "holds float64, and the action"),
        ({"x": [1]}, {"y.npy": raw(20)}, "format_invalid", "y", "is not an .npy file"),
        ({"x": [1], "y": "s3://data/y?offset=4&size=8"}, {"y": raw(8)}, "size_mismatch", "y", "reaches beyond"),
        ({"x": [1], "y": "s3://data/y?offset=9"}, {"y": raw(8)}, "size_mismatch", "y", "reaches beyond"),
        ({"x": [1], "y": ["a"]}, {}, "argument_invalid", "y", "'a' is not a number"),
        ({"x": [0.0] * 16385, "y": [1]}, {}, "inline_too_large", "x", "65540 bytes"),
        ({"z": "inline"}, {"x.npy": stored((16385,)), "y.npy": stored((16385,))}, "inline_too_large", "z", "65540"),
    ],
)
def test_refusals(arguments: dict[str, Any], objects: dict[str, ObjectInfo], code: str, where: str, part: str) -> None:
    with pytest.raises(CallerError) as caught:
        bound(MANIFEST, {**XYZ, **arguments}, objects)
    assert (caught.value.code, caught.value.where) == (code, f"arguments.{where}")
    assert part in caught.value.message


def test_inline_outputs_are_bounded_together() -> None:
    names = [f"y{index}" for index in range(17)]
    outputs = "".join(f"\n  {name}: {{io: out, dtype: uint8, shape: [65536]}}" for name in names)
    manifest = action(f"  x: {{io: in, dtype: int8, shape: [n]}}{outputs}", "{}")
    inline = dict.fromkeys(names, "inline")
    bound(manifest, {"x": [1], **inline, "y0": "s3://data/y0"}, {})
    with pytest.raises(CallerError) as caught:
        bound(manifest, {"x": [1], **inline}, {})
    assert caught.value.code == "inline_too_large"
    assert "1114112 bytes together" in caught.value.message


@pytest.mark.parametrize(
    ("shape", "let", "part"),
    [
        ("[n - 5]", "{}", "gives -2; it must be at least 0"),
        ("[n / 2]", "{}", "gives 1.5, which is not a whole number"),
        ("[100 // (n - 3)]", "{}", "divides by zero (n = 3)"),
        ("[h]", "{h: n / 2}", "gives 1.5"),
        ("[1]", "{h: 1 // (n - 3)}", "divides by zero"),
        ("[2**40 * n, 2**40]", "{}", "more bytes than any address space (n = 3)"),
        ("[2**62 * n]", "{}", "at most"),
    ],
)
def test_expressions_out_of_range(shape: str, let: str, part: str) -> None:
    manifest = action(
        f"  x: {{io: in, dtype: int8, shape: [n]}}\n  t: {{io: temp, dtype: float32, shape: {shape}}}", let
    )
    with pytest.raises(CallerError) as caught:
        bound(manifest, {"x": [1, 2, 3]})
    assert caught.value.code == "expression_range"
    assert part in caught.value.message
    assert (caught.value.where or "").startswith("kaas.yaml:")


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("nan", "gives nan, which is not a whole number (p = nan)"),
        ("inf", "gives inf, which is not a whole number"),
        (-1, "must be at least 0"),
        (0.5, "gives 0.5, which is not a whole number"),
        (1e300, "must be at most"),
    ],
)
def test_parameters_that_are_no_sizes(value: object, part: str) -> None:
    manifest = action("  t: {io: temp, dtype: int8, shape: [p]}", params="{p: {type: float64}}")
    assert bound(manifest, {"p": 3}).buffers["t"].shape == (3,)
    with pytest.raises(CallerError) as caught:
        bound(manifest, {"p": value})
    assert (caught.value.code, caught.value.where) == ("expression_range", "kaas.yaml:6 buffers.t.shape[0]")
    assert part in caught.value.message


@pytest.mark.parametrize(
    ("shape", "arrays"),
    [
        ("[n]", {"x": [], "y": []}),
        ("[n, 0]", {"x": [[], []], "y": [[], []]}),
        ("[0, n]", {"x": {"base64": "", "shape": [0, 5]}, "y": {"base64": "", "shape": [0, 5]}}),
        ("[n, m]", {"x": {"base64": "", "shape": [0, 1 << 40]}, "y": {"base64": "", "shape": [0, 1 << 40]}}),
    ],
)
def test_arrays_without_elements(shape: str, arrays: dict[str, Any]) -> None:
    buffer = f"dtype: float32, shape: {shape}"
    manifest = action(f"  x: {{io: in, {buffer}}}\n  y: {{io: in, {buffer}}}\n  z: {{io: out, {buffer}}}")
    binding = bound(manifest, {**arrays, "z": "inline"})
    assert [one.nbytes for one in binding.buffers.values()] == [0, 0, 0]
    assert len({one.shape for one in binding.buffers.values()}) == 1
    assert binding.device_bytes == 3 * 256


def test_shapes_that_contradict_each_other() -> None:
    manifest = action(
        "  x: {io: in, dtype: int8, shape: [n]}\n  y: {io: in, dtype: int8, shape: [half]}", let="{half: n // 2}"
    )
    assert bound(manifest, {"x": [1, 2, 3], "y": [1]}).symbols == {"n": 3, "half": 1}
    with pytest.raises(CallerError, match=r"half is 2 in y \(its inline value\) and 1 by let: n // 2") as caught:
        bound(manifest, {"x": [1, 2, 3], "y": [1, 2]})
    assert (caught.value.code, caught.value.where) == ("shape_mismatch", "arguments.y")
    # Each of the two lengths would need the other's symbol first.
    circle = action("  x: {io: in, dtype: int8, shape: [n, m]}\n  y: {io: in, dtype: int8, shape: [m, n]}")
    with pytest.raises(CallerError) as caught:
        bound(circle, {"x": "s3://data/x", "y": "s3://data/y"}, {"x": raw(6), "y": raw(6)})
    assert caught.value.code == "symbol_unsolved"
    assert "header has the shape" in (caught.value.hint or "")


def test_swapped_buffers_of_unequal_shapes() -> None:
    manifest = action(
        "  x: {io: in, dtype: int8, shape: [n]}\n  t: {io: temp, dtype: int8, shape: [2 * n - 3]}",
        steps="[{repeat: {times: 1, swap: [x, t], steps: [{fill: {buffer: t, value: 0}}]}}]",
    )
    assert bound(manifest, {"x": [1, 2, 3]}).buffers["t"].shape == (3,)
    with pytest.raises(CallerError, match=r"x has the shape \[4\], t \[5\]") as caught:
        bound(manifest, {"x": [1, 2, 3, 4]})
    assert caught.value.code == "shape_mismatch"
    assert "repeat.swap" in (caught.value.where or "")


def test_a_const_of_the_store_that_does_not_fit_is_named_in_the_manifest() -> None:
    manifest = action(
        "  x: {io: in, dtype: int8, shape: [n]}\n  w: {io: const, dtype: int8, shape: [n], from: s3://data/w.npy}"
    )
    objects = {"w.npy": stored((2,), "int8")}
    with pytest.raises(CallerError, match=r"n is 2 in w \(s3://data/w\.npy\) and 3 in x") as caught:
        bound(manifest, {"x": [1, 2, 3]}, objects)
    assert caught.value.where == "kaas.yaml:7 buffers.w.from"
    with pytest.raises(CallerError, match="does not exist") as caught:
        bound(manifest, {"x": [1, 2, 3]})
    assert (caught.value.code, caught.value.where) == ("object_not_found", "kaas.yaml:7 buffers.w.from")
    with pytest.raises(CallerError, match="holds float32") as caught:
        bound(manifest, {"x": [1, 2]}, {"w.npy": stored((2,))})
    assert (caught.value.code, caught.value.where) == ("dtype_mismatch", "kaas.yaml:7 buffers.w.from")


def test_a_loop_ends_by_an_element_that_there_is() -> None:
    loop = "[{repeat: {times: 3, until: {buffer: x, below: 1}, steps: [{fill: {buffer: x, value: 0}}]}}]"
    manifest = action("  x: {io: in, dtype: int8, shape: [n]}", steps=loop)
    assert bound(manifest, {"x": [1]}).buffers["x"].nbytes == 1
    with pytest.raises(CallerError, match=r"x has the shape \[0\]: no element to compare") as caught:
        bound(manifest, {"x": []})
    assert (caught.value.code, caught.value.where) == ("shape_mismatch", "kaas.yaml:7 graph[0].repeat.until")


def tensors(**arrays: np.ndarray) -> ObjectInfo:
    """What the store says about a safetensors object, with no more of its head than is needed."""
    content = save(arrays)
    return ObjectInfo("t", len(content), content[: header_bytes(content[:8])])


def test_tensors_solve_symbols_and_are_ranges() -> None:
    manifest = action(
        "  w: {io: in, dtype: float32, shape: [n, k]}\n  b: {io: const, dtype: float32, shape: [k]}\n"
        "  z: {io: out, dtype: float32, shape: [n, k]}"
    )
    file = "s3://data/m.safetensors"
    objects = {"m.safetensors": tensors(weight=np.zeros((2, 3), "f4"), bias=np.zeros(3, "f4"))}
    arguments = {"w": f"{file}#weight", "b": f"{file}#bias", "z": "inline"}
    binding = bound(manifest, arguments, objects)
    begin = len(objects["m.safetensors"].head)
    assert binding.symbols == {"n": 2, "k": 3}
    sources = [binding.buffers[name].source for name in "bw"]
    assert sources == [
        ObjectSource("s3", "data", "m.safetensors", "t", None, begin, 12),
        ObjectSource("s3", "data", "m.safetensors", "t", None, begin + 12, 24),
    ]
    assert Binding.from_json(json.loads(json.dumps(binding.to_json()))) == binding
    call = Call.parse(manifest, arguments, activation_id="f00")
    assert list(call.objects) == [file]
    with pytest.raises(CallerError, match=r"k is 2 in b \(s3://data/m\.safetensors#bias\) and 3 in w") as caught:
        bound(manifest, arguments, {"m.safetensors": tensors(weight=np.zeros((2, 3), "f4"), bias=np.zeros(2, "f4"))})
    assert (caught.value.code, caught.value.where) == ("shape_mismatch", "arguments.b")
    for objects, code, part in (
        ({"m.safetensors": tensors(weights=np.zeros(1))}, "object_not_found", "near to it: 'weights'"),
        ({"m.safetensors": ObjectInfo("t", 9, b"\x93NUMPY\x01\x00v")}, "format_invalid", "save_file"),
        ({"m.safetensors": tensors(weight=np.zeros((2, 3)))}, "dtype_mismatch", "array.astype('float32')"),
    ):
        with pytest.raises(CallerError) as caught:
            bound(manifest, arguments, objects)
        assert (caught.value.code, caught.value.where) == (code, "arguments.w")
        assert part in (caught.value.hint or "")


def test_types_that_numpy_does_not_have_bind_to_their_bits() -> None:
    header = b'{"w":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]}}'
    objects = {"m.safetensors": ObjectInfo("t", 8 + len(header) + 6, len(header).to_bytes(8, "little") + header)}
    arguments = {"x": "s3://data/m.safetensors#w"}
    assert bound(action("  x: {io: in, dtype: uint16, shape: [n]}"), arguments, objects).symbols == {"n": 3}
    with pytest.raises(CallerError, match="holds BF16, read as uint16, and the action declares x as float32"):
        bound(action("  x: {io: in, dtype: float32, shape: [n]}"), arguments, objects)


def test_a_range_of_a_file_of_tensors_is_raw_data() -> None:
    manifest = action("  x: {io: in, dtype: uint8, shape: [n]}")
    binding = bound(manifest, {"x": "s3://data/m.safetensors?offset=0&size=8"}, {"m.safetensors": raw(100)})
    assert binding.symbols == {"n": 8}


def test_a_bundled_tensor() -> None:
    manifest = action("  w: {io: const, dtype: int8, shape: [n], from: w.safetensors#layer.0}")
    layout = Layout(DTYPES["int8"], (2,), 80, 2)
    binding = bound(manifest, {}, files={"w.safetensors#layer.0": layout})
    assert binding.buffers["w"].source == BundleFile("w.safetensors", 80)


def test_a_bundled_const_that_does_not_fit_is_named_in_the_manifest() -> None:
    manifest = action("  x: {io: in, dtype: int8, shape: [n]}\n  w: {io: const, dtype: int8, shape: [n], from: w.npy}")
    with pytest.raises(CallerError, match=r"n is 2 in w \(w\.npy\) and 3 in x") as caught:
        bound(manifest, {"x": [1, 2, 3]}, files={"w.npy": Layout(DTYPES["int8"], (2,), 128, 2)})
    assert caught.value.where == "kaas.yaml:7 buffers.w.from"


# Targets


def test_writes_over_what_is_read_are_conditional() -> None:
    objects = {"x.npy": stored((2,), etag="ex"), "y.npy": stored((2,), etag="ey")}
    targets = [
        bound(MANIFEST, {**XYZ, "z": place}, objects).buffers["z"].target
        for place in ("s3://data/z.npy", "s3://data/y.npy", "s3://other/y.npy")
    ]
    assert [isinstance(target, ObjectTarget) and target.if_match for target in targets] == [None, "ey", None]
    manifest = action("  s: {io: inout, dtype: float32, shape: [n]}")
    target = bound(manifest, {"s": "s3://data/x.npy"}, objects).buffers["s"].target
    assert isinstance(target, ObjectTarget)
    assert target.if_match == "ex"
    target = bound(manifest, {"s": {"from": "s3://data/x.npy", "to": "s3://data/z.bin"}}, objects).buffers["s"].target
    assert target == ObjectTarget("s3", "data", "z.bin", b"", None)


def test_an_empty_buffer_takes_an_address() -> None:
    binding = bound(MANIFEST, {"x": [], "y": [], "z": "inline"})
    assert binding.buffers["z"].nbytes == 0
    assert binding.device_bytes == 3 * 256
    assert binding.buffers["z"].render(b"") == []
