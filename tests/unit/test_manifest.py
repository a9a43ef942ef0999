"""What a manifest says, and what it may not say."""

from __future__ import annotations

import dataclasses

import pytest
from manifest_cases import FULL, SAXPY
from manifest_refusals import BROKEN

from kaas.dtypes import TypedScalar
from kaas.errors import AuthorError
from kaas.expressions import Expression
from kaas.freshness import ALWAYS, PINNED, Freshness
from kaas.graph import (
    BufferArg,
    CopyStep,
    FillStep,
    KernelStep,
    NullArg,
    ParamArg,
    RepeatStep,
    Source,
    Until,
    ValueArg,
)
from kaas.manifest import Manifest, SameShape
from kaas.references import Reference


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
    pairs, fill, fill_bool, copy, loop, gem, raw = manifest.steps
    assert isinstance(pairs, KernelStep)
    assert pairs.source == Source("src/pairs.cu", defines=(("FAST", "1"), ("NAME", "float"), ("TILE", "16")))
    assert pairs.args[6:] == (NullArg(), BufferArg("x", expression("half*4")), BufferArg("w"))
    assert isinstance(fill, FillStep)
    assert fill.evaluate({"a": 1.5}) == TypedScalar("float32", 3.0)
    assert isinstance(fill_bool, FillStep)
    assert fill_bool.evaluate({}) == TypedScalar("bool", True)
    assert copy == CopyStep("t", "z", "kaas.yaml:31 graph[3].copy")
    assert isinstance(loop, RepeatStep)
    assert (loop.times, loop.index, loop.swap) == (expression("iters"), "k", ("z", "t"))
    step, inner = loop.steps
    assert isinstance(step, KernelStep)
    assert step.source.path == "kaas.yaml:38"
    assert step.source.first_line == 39
    assert step.source.text == 'extern "C" __global__ void step(const float* x, float* t, int k) {}\n'
    assert step.where == "kaas.yaml:37 graph[4].repeat.steps[0]"
    assert isinstance(inner, RepeatStep)
    assert inner.index == "inner"
    assert inner.until == Until(
        "t", expression("a / 2"), expression("k + 1"), "kaas.yaml:46 graph[4].repeat.steps[1].repeat.until"
    )
    assert manifest.checked_loops == (inner,)
    assert isinstance(gem, KernelStep)
    cubins = (("sm_90", "bin/gem.sm_90.cubin"), ("sm_100", "bin/gem.sm_100.cubin"))
    assert gem.source == Source("src/gem.cu", cubins=cubins)
    assert (gem.reads, gem.writes) == (frozenset({"x", "t"}), frozenset({"t"}))
    assert isinstance(raw, KernelStep)
    assert raw.source == Source("bin/raw.cubin", cubins=(("sm_80", "bin/raw.cubin"),), compiled_only=True)
    assert (pairs.reads, pairs.writes) == (None, None)
    assert manifest.buffers["m"].reference == Reference("s3", "data", "m.npy")
    assert manifest.buffers["m"].from_where == "kaas.yaml:17 buffers.m.from"
    assert [buffer.name for buffer in manifest.inputs] == ["x", "w", "s"]
    assert [buffer.freshness for buffer in manifest.inputs] == [PINNED, None, None]
    assert manifest.freshness == Freshness("max_age", 2.5)
    assert manifest.rename == {"image": "x", "factor": "a"}
    assert manifest.event_input == "x"
    names = [kernel.kernel for kernel in manifest.kernel_steps]
    assert names == ["ns::pairs<float, 2>", "step", "_Z3gemPKfPf", "raw"]
    assert manifest.written == {"z", "t", "v"}
    assert manifest.same_shapes == (
        SameShape("t", "z", "kaas.yaml:31 graph[3].copy.to"),
        SameShape("z", "t", "kaas.yaml:35 graph[4].repeat.swap"),
    )


def test_sources_are_units_of_compiling() -> None:
    step = SAXPY[SAXPY.index("  - kernel") :]
    text = SAXPY + step.replace("kernel: saxpy", "kernel: other") + step + step.rstrip() + "\n    defines: {T: 2}\n"
    assert Manifest.parse(text).kernels == {
        Source("saxpy.cu"): ("saxpy", "other"),
        Source("saxpy.cu", defines=(("T", "2"),)): ("saxpy",),
    }


def test_the_parts_of_a_launch_have_places() -> None:
    text = SAXPY.replace(
        "args: [a, x, y, z, int32(n)]", "args:\n      - a\n      - x\n      - y\n      - z\n      - int32(n)"
    )
    manifest = Manifest.parse(text)
    (step,) = manifest.kernel_steps
    assert step.place("source") == "kaas.yaml:12 graph[0].source"
    assert step.place("args[2]") == "kaas.yaml:18 graph[0].args[2]"
    assert step.place("shared") == "kaas.yaml:11 graph[0].shared"
    assert manifest.place_of(step.source) == "kaas.yaml:12 graph[0].source"
    assert manifest.place_of(step.source, "saxpy") == "kaas.yaml:11 graph[0].kernel"
    with pytest.raises(KeyError):
        manifest.place_of(step.source, "other")


def test_what_kernels_declare_counts_as_written() -> None:
    manifest = Manifest.parse(SAXPY + "    reads: [x, y]\n    writes: [z]\n")
    assert manifest.written == {"z"}
    (step,) = manifest.kernel_steps
    assert (step.reads, step.writes) == (frozenset({"x", "y"}), frozenset({"z"}))
    one_list = Manifest.parse(SAXPY + "    writes: [x, y, z]\n").kernel_steps[0]
    assert (one_list.reads, one_list.writes) == (frozenset(), frozenset({"x", "y", "z"}))


def test_a_compiled_kernel_without_buffers_need_not_say_what_it_writes() -> None:
    text = "kaas: 1\nname: e\ngraph: [{kernel: e, cubins: {sm_90: e.cubin}, grid: [1], block: [1]}]\n"
    (step,) = Manifest.parse(text).kernel_steps
    assert (step.reads, step.writes) == (frozenset(), frozenset())


def test_defaults() -> None:
    manifest = Manifest.parse(SAXPY)
    assert manifest.freshness == ALWAYS
    assert manifest.rename == {}
    assert manifest.event_input is None
    assert manifest.checked_loops == ()
    assert manifest.buffers["x"].freshness is None
    loop = "  - repeat: {times: 1, until: {buffer: z, below: a}, steps: [{fill: {buffer: z, value: 0}}]}\n"
    (checked,) = Manifest.parse(SAXPY + loop).checked_loops
    assert checked.until is not None
    assert checked.until.every.integer({}) == 1


@pytest.mark.parametrize(
    ("buffer", "part"),
    [
        ("{io: temp, dtype: complex64, shape: [1]}", "complex numbers have no order"),
        ("{io: temp, dtype: float32, shape: [n, 0]}", "no element to compare: its shape is [n, 0]"),
    ],
)
def test_loops_end_by_an_element_that_can_be_compared(buffer: str, part: str) -> None:
    loop = "  - repeat: {times: 1, until: {buffer: e, below: a}, steps: [{fill: {buffer: z, value: 0}}]}\n"
    text = SAXPY.replace("graph:", f"  e: {buffer}\ngraph:") + loop
    with pytest.raises(AuthorError) as caught:
        Manifest.parse(text)
    assert caught.value.code == "manifest_invalid"
    assert part in caught.value.message
    assert caught.value.where == "kaas.yaml:17 graph[1].repeat.until.buffer"


@pytest.mark.parametrize(
    ("key", "one", "most"),
    [("params", "{type: int32}", 1024), ("let", "1", 1024), ("buffers", "{io: temp, dtype: int8, shape: []}", 256)],
)
def test_a_manifest_has_so_many_names(key: str, one: str, most: int) -> None:
    def text(count: int) -> str:
        lines = "".join(f"  n{number}: {one}\n" for number in range(count))
        return f"kaas: 1\nname: many\n{key}:\n{lines}graph: [{{kernel: e, source: e.cu, grid: [1], block: [1]}}]\n"

    assert Manifest.parse(text(most)).name == "many"
    with pytest.raises(AuthorError, match=f"{most + 1} {key}; at most {most}") as caught:
        Manifest.parse(text(most + 1))
    assert caught.value.where == f"kaas.yaml:3 {key}"


@pytest.mark.parametrize(
    "values", [["f((("] * 50_000, ["f("] * 20_000 + ["a)"] * 20_000, ["(" * 900, ")" * 900] * 500, ["min(a"] * 80_000]
)
def test_open_parentheses_are_told_at_once(values: list[str]) -> None:
    with pytest.raises(AuthorError) as caught:
        Manifest.parse(SAXPY.replace("block: [256]", f"block: [{', '.join(values)}]"))
    assert caught.value.code in ("manifest_invalid", "expression_invalid")
    assert "block[" in (caught.value.where or "")
    assert len(caught.value.message) < 2500


def test_a_bundle_has_so_many_cubins_and_names() -> None:
    cubins = ", ".join(f"sm_{number}: e.cubin" for number in range(10, 43))
    with pytest.raises(AuthorError, match="33 cubins; 1 to 32"):
        Manifest.parse(SAXPY.replace("source: saxpy.cu", f"cubins: {{{cubins}}}"))
    renames = ", ".join(f"x{number}: x" for number in range(257))
    with pytest.raises(AuthorError, match="257 names; at most 256"):
        Manifest.parse(f"{SAXPY}rename: {{{renames}}}\n")


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
