"""What a manifest says, and what it may not say."""

from __future__ import annotations

import dataclasses

import pytest
from manifest_cases import FULL, SAXPY
from manifest_refusals import BROKEN

from kaas.dtypes import TypedScalar
from kaas.errors import AuthorError
from kaas.expressions import Expression
from kaas.graph import (
    BufferArg,
    CopyStep,
    FillStep,
    KernelStep,
    NullArg,
    ParamArg,
    RepeatStep,
    Source,
    ValueArg,
)
from kaas.manifest import Manifest, SameShape


def expression(text: str) -> Expression:
    return Expression.parse(text)


def test_the_example() -> None:
    manifest = Manifest.parse(SAXPY)
    assert manifest.name == "saxpy"
    assert manifest.description == "z = a*x + y"
    assert manifest.params["a"].default == TypedScalar("float32", 1.0)
    assert list(manifest.buffers) == ["x", "y", "z"]
    assert manifest.symbols == ("n",)
    assert [buffer.name for buffer in manifest.inputs] == ["x", "y"]
    assert [buffer.name for buffer in manifest.outputs] == ["z"]
    (step,) = manifest.steps
    assert step == KernelStep(
        kernel="saxpy",
        source=Source("saxpy.cu"),
        threads=(expression("n"),),
        grid=None,
        block=(expression("256"),),
        shared=None,
        args=(
            ParamArg("a"),
            BufferArg("x"),
            BufferArg("y"),
            BufferArg("z"),
            ValueArg(expression("int32(n)")),
        ),
        where="kaas.yaml:11 graph[0]",
    )


def test_every_feature() -> None:
    manifest = Manifest.parse(FULL)
    assert manifest.params["c"].default == TypedScalar("complex64", 1 - 1j)
    assert manifest.params["flag"].default == TypedScalar("bool", True)
    assert manifest.symbols == ("n",)
    assert manifest.buffers["s"].dimensions == ("half",)
    assert manifest.buffers["t"].dimensions == ("n", 2)
    assert manifest.buffers["v"].dimensions == ()
    assert manifest.buffers["z"].zero
    assert list(manifest.let) == ["half", "scale"]
    pairs, fill, fill_bool, copy, loop = manifest.steps
    assert isinstance(pairs, KernelStep)
    assert pairs.source == Source("src/pairs.cu", defines=(("FAST", "1"), ("NAME", "float"), ("TILE", "16")))
    assert pairs.args[6:] == (NullArg(), BufferArg("x", expression("half*4")), BufferArg("w"))
    assert isinstance(fill, FillStep)
    assert fill.evaluate({"a": 1.5}) == TypedScalar("float32", 3.0)
    assert isinstance(fill_bool, FillStep)
    assert fill_bool.evaluate({}) == TypedScalar("bool", True)
    assert copy == CopyStep("t", "z", "kaas.yaml:30 graph[3].copy")
    assert isinstance(loop, RepeatStep)
    assert (loop.times, loop.index, loop.swap) == (expression("iters"), "k", ("z", "t"))
    step, inner = loop.steps
    assert isinstance(step, KernelStep)
    assert step.source.path == "kaas.yaml:37"
    assert step.source.first_line == 38
    assert step.source.text == 'extern "C" __global__ void step(const float* x, float* t, int k) {}\n'
    assert step.where == "kaas.yaml:36 graph[4].repeat.steps[0]"
    assert isinstance(inner, RepeatStep)
    assert inner.index == "inner"
    assert [kernel.kernel for kernel in manifest.kernel_steps] == ["ns::pairs<float, 2>", "step"]
    assert manifest.written == {"z", "t", "v"}
    assert manifest.same_shapes == (
        SameShape("t", "z", "kaas.yaml:30 graph[3].copy.to"),
        SameShape("z", "t", "kaas.yaml:34 graph[4].repeat.swap"),
    )


def test_sources_are_units_of_compiling() -> None:
    step = SAXPY[SAXPY.index("  - kernel") :]
    text = SAXPY + step.replace("kernel: saxpy", "kernel: other") + step + step.rstrip() + "\n    defines: {T: 2}\n"
    assert Manifest.parse(text).kernels == {
        Source("saxpy.cu"): ("saxpy", "other"),
        Source("saxpy.cu", defines=(("T", "2"),)): ("saxpy",),
    }


def test_manifests_are_frozen_and_compare_by_identity() -> None:
    manifest = Manifest.parse(SAXPY)
    with pytest.raises(dataclasses.FrozenInstanceError):
        manifest.name = "other"  # type: ignore[misc]
    assert manifest != Manifest.parse(SAXPY)
    assert len({manifest, manifest}) == 1


@pytest.mark.parametrize(
    ("old", "new", "code", "where", "part", "hint"), BROKEN, ids=[f"{case[3]}-{case[1][:30]}" for case in BROKEN]
)
def test_what_is_refused(old: str, new: str, code: str, where: str, part: str, hint: str | None) -> None:
    assert FULL.count(old) == 1
    with pytest.raises(AuthorError) as caught:
        Manifest.parse(FULL.replace(old, new))
    error = caught.value
    assert (error.code, error.where) == (code, f"kaas.yaml:{where}")
    assert part in error.message
    if hint is not None:
        assert hint in (error.hint or "")


@pytest.mark.parametrize("name", ["error", "_n", "n" * 65])
def test_symbols_are_names_too(name: str) -> None:
    with pytest.raises(AuthorError, match="cannot name a symbol") as caught:
        Manifest.parse(SAXPY.replace("shape: [n]", f"shape: [{name}]").replace("[n]", "[1]").replace("(n)", "(1)"))
    assert caught.value.where == "kaas.yaml:7 buffers.x.shape[0]"


@pytest.mark.parametrize("graph", ["graph: []", "graph: {}", "graph:", ""])
def test_a_graph_has_steps(graph: str) -> None:
    with pytest.raises(AuthorError) as caught:
        Manifest.parse(SAXPY[: SAXPY.index("graph:")] + graph)
    assert caught.value.code == "manifest_invalid"
    assert "graph" in caught.value.message


def test_loops_and_steps_are_bounded() -> None:
    head = SAXPY[: SAXPY.index("graph:")]
    steps = "{fill: {buffer: z, value: 0}}"
    for _ in range(9):
        steps = f"{{repeat: {{times: 2, steps: [{steps}]}}}}"
    with pytest.raises(AuthorError, match="nest deeper than 8"):
        Manifest.parse(f"{head}graph: [{steps}]")
    with pytest.raises(AuthorError, match="more than 4096 steps"):
        Manifest.parse(head + "graph:\n" + "  - fill: {buffer: z, value: 0}\n" * 4097)


def test_a_manifest_without_parameters_and_buffers_is_one() -> None:
    manifest = Manifest.parse(
        "kaas: 1\nname: empty\nparams:\nbuffers: {}\ngraph: [{kernel: e, source: e.cu, grid: [1], block: [1]}]\n"
    )
    assert manifest.params == {}
    assert manifest.buffers == {}
    assert manifest.kernel_steps[0].args == ()


def test_places_use_the_given_file_name() -> None:
    with pytest.raises(AuthorError) as caught:
        Manifest.parse(SAXPY.replace("io: out", "io: up"), "my dir/kaas.yaml")
    assert caught.value.where == "my dir/kaas.yaml:9 buffers.z.io"
