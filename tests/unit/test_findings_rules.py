"""What each rule finds, where, and what it says to do; and that it is silent about what is right."""

from __future__ import annotations

import pytest
from findings_cases import action, found_in, launch
from plan_cases import HEAD

from kaas_pool.findings import Finding
from kaas_pool.limits import Limits

T = "t: {io: temp, dtype: float32, shape: [n]}"
W = "w: {io: temp, dtype: float32, shape: [n]}"
Y_IN = "y: {io: in, dtype: float32, shape: [n]}"
Y_INOUT = "y: {io: inout, dtype: float32, shape: [n]}"
ADD = launch("add", "x, z, int32(n)")
SCALE_Z = launch("scale", "z, int32(n)")


def loop(keys: str, *steps: str) -> str:
    """A repeat in one line."""
    inner = ", ".join(step.removeprefix("- ") for step in steps)
    return f"- repeat: {{{keys}, steps: [{inner}]}}"


def graph(*steps: str) -> str:
    return "\n".join(steps)


def described(finding: Finding) -> str:
    return f"{finding.severity} {finding.rule} {finding.path or finding.place}"


#: Name -> manifest, and each finding: severity, rule and path, then words of what and of fix.
CASES: dict[str, tuple[str, list[tuple[str, str, str]]]] = {
    "out that no step writes": (
        action(graph(launch("add", "x, t, int32(n)"), launch("add", "t, w, int32(n)"), launch("add", "w, t, int32(n)")),
               buffers=graph(T, W)),
        [
            ("error unwritten buffers.z", "no step writes the output z", "give z to a kernel that writes it"),
            ("warning unread graph[2].args", "nothing reads what the kernel add", "declare it io: out"),
        ],
    ),
    "out that no step writes, cleared": (
        action(graph(launch("add", "x, y, int32(n)")),
               buffers=graph(Y_INOUT, "o: {io: out, dtype: float32, shape: [n], zero: true}"))
        .replace("  z: {io: out, dtype: float32, shape: [n]}\n", ""),
        [("warning unwritten buffers.o", "no step writes the output o", "or remove it")],
    ),
    "inout that no step writes": (
        action(ADD, buffers=Y_INOUT),
        [("warning unwritten buffers.y", "no step writes y, which is inout", "declare io: in")],
    ),
    "inout that is overwritten before it is read": (
        action(graph("- fill: {buffer: y, value: 0}", launch("scale", "y, int32(n)"), ADD), buffers=Y_INOUT),
        [("warning unread buffers.y", "its first contents are overwritten", "declare io: out")],
    ),
    "inout overwritten by declaration": (
        action(graph(launch("add", "x, y, int32(n)", "threads: [n], block: [32], reads: [x], writes: [y]"), ADD),
               buffers=Y_INOUT),
        [("warning unread buffers.y", "its first contents are overwritten", "name it in that step's reads")],
    ),
    "in that no step reads": (
        action(ADD, buffers=Y_IN),
        [("warning unread buffers.y", "no step reads y, which is in", "a parameter will do")],
    ),
    "in that is overwritten before it is read": (
        action(graph("- copy: {from: x, to: y}", launch("add", "y, z, int32(n)")), buffers=Y_IN),
        [("warning unread buffers.y", "y is in, and it is overwritten", "declare io: temp")],
    ),
    "in that is written in vain": (
        action(graph(ADD, launch("store", "x, int32(n)"))),
        [("warning unread graph[1].args", "nothing reads what the kernel store", "remove the step")],
    ),
    "temp that no step uses": (
        action(ADD, buffers=T),
        [("warning unread buffers.t", "no step uses the temporary t", "remove it")],
    ),
    "temp that is written and not read": (
        action(graph(ADD, launch("store", "t, int32(n)")), buffers=T),
        [("warning unread graph[1].args", "nothing reads what the kernel store", "read t in a later step")],
    ),
    "temp that is read before it is written": (
        action(graph(launch("add", "t, z, int32(n)"), launch("add", "x, t, int32(n)"), launch("add", "t, z, int32(n)")),
               buffers=T),
        [("warning undefined graph[0].args", "reads t before any step has written it", "zero: true")],
    ),
    "temp that only the first round finds undefined": (
        action(loop("times: 9", launch("add", "t, z, int32(n)"), launch("add", "x, t, int32(n)")), buffers=T),
        [("warning undefined graph[0].repeat.steps[0].args", "reads t before any step", "zero: true")],
    ),
    "temp that a loop without rounds leaves undefined": (
        action(graph(loop("times: a", launch("add", "x, t, int32(n)")), "- copy: {from: t, to: z}"),
               params="a: {type: int32, default: 0}", buffers=T),
        [
            ("note idle-loop graph[0].repeat.times", "'a' is 0 (with a = 0)", "check the default"),
            ("warning idle-loop graph[0].repeat", "no step in the loop reads what", "without repeat"),
            ("warning undefined graph[1].copy", "reads t before any step has written it (with a = 0)", "zero: true"),
        ],
    ),
    "temp that a loop with rounds defines": (
        action(graph(loop("times: a, as: k", launch("add", "x, t, int32(k)")), "- copy: {from: t, to: z}"),
               params="a: {type: int32, default: 1}", buffers=T),
        [],
    ),
    "temp that a loop of unknown rounds defines": (
        action(graph(loop("times: a, as: k", launch("add", "x, t, int32(k)")), "- copy: {from: t, to: z}"),
               params="a: {type: int32}", buffers=T),
        [],
    ),
    "until on what nothing has written": (
        action(graph(loop("times: 9, until: {buffer: t, below: 1}", SCALE_Z), ADD), buffers=T).replace(
            "shape: [n]}\n  t:", "shape: [n], zero: true}\n  t:"),
        [
            ("warning idle-loop graph[0].repeat.until", "no step in it writes t", "compute t in the loop"),
            ("warning undefined graph[0].repeat.until", "the loop (line 10) reads t before", "zero: true"),
        ],
    ),
    "step that overwrites": (
        action(graph(launch("store", "z, int32(n)"), "- copy: {from: x, to: z}")),
        [("warning overwritten graph[1].copy", "the copy from x to z (line 11) overwrites z", "or remove the kernel")],
    ),
    "kernel that overwrites by declaration": (
        action(graph("- fill: {buffer: z, value: 1}",
                     launch("add", "x, z, int32(n)", "threads: [n], block: [32], reads: [x], writes: [z]"))),
        [("warning overwritten graph[1].args", "the kernel add (line 11) overwrites z", "name z in its reads")],
    ),
    "step that overwrites itself from round to round": (
        action(loop("times: 9", "- fill: {buffer: z, value: 1}", launch("add", "x, t, int32(n)"),
                    launch("add", "t, w, int32(n)"), launch("add", "w, t, int32(n)"), launch("scale", "t, int32(n)")),
               buffers=graph(T, W)),
        [],
    ),
    "params and lets that nothing uses": (
        action(ADD, params="a: {type: int32, default: 3}, b: {type: int32}, c: {type: int32}",
               let="h: n // 2, g: a * 2, i: c"),
        [
            ("warning unused-name let.g", "nothing uses the symbol g", "remove it from let"),
            ("warning unused-name let.h", "nothing uses the symbol h", "remove it from let"),
            ("warning unused-name let.i", "nothing uses the symbol i", "remove it from let"),
            ("warning unused-name params.a", "nothing uses the parameter a but a let", "or remove it"),
            ("warning unused-name params.b", "nothing uses the parameter b", "or remove it"),
            ("warning unused-name params.c", "nothing uses the parameter c but a let", "or remove it"),
        ],
    ),
    "params used in every place": (
        action(graph(loop("times: a, until: {buffer: z, below: b, every: c}",
                          launch("add", "x, z, int32(d)", "threads: [n], block: [e], shared: f"),
                          launch("scale", "'{buffer: z, offset: g * 4}', int32(n)".replace("'", "")),
                          "- fill: {buffer: t, value: h}"),
                     launch("opaque", "t, t, i")),
               params=", ".join(f"{name}: {{type: int32}}" for name in "abcdefghi"), buffers=T),
        [],
    ),
    "loop that never runs": (
        action(graph(ADD, loop("times: 0", SCALE_Z))),
        [("warning idle-loop graph[1].repeat.times", "times is 0", "a number of rounds")],
    ),
    "loop that a default keeps from running": (
        action(graph(ADD, loop("times: a", SCALE_Z)), params="a: {type: int32, default: 0}"),
        [("note idle-loop graph[1].repeat.times", "'a' is 0 (with a = 0)", "check the default")],
    ),
    "loop that only some sizes keep from running": (
        action(graph(ADD, loop("times: log2(a) % 2", SCALE_Z), loop("times: odd", SCALE_Z)),
               params="a: {type: int32, default: 4}", let="odd: log2(a) % 2"),
        [],
    ),
    "loop whose rounds are alike": (
        action(loop("times: 9", ADD)),
        [("warning idle-loop graph[0].repeat", "none uses a loop index", "swap the buffers")],
    ),
    "loop whose index nobody uses": (
        action(graph(ADD, loop("times: 9, as: k", SCALE_Z))),
        [("note unused-name graph[1].repeat.as", "no step of the loop uses its index k", "leave out as")],
    ),
    "loop whose index makes rounds differ": (action(loop("times: 9, as: k", launch("add", "x, z, int32(k)"))), []),
    "loop that builds on itself": (action(graph(ADD, loop("times: 9", SCALE_Z))), []),
    "loop of one round": (action(loop("times: 1", ADD)), []),
    "loop that swaps, as Jacobi's": (
        action(graph("- copy: {from: x, to: z}", loop("times: 9, swap: [z, t]", launch("add", "z, t, int32(n)"))),
               buffers=T),
        [],
    ),
    "swap of what is not written": (
        action(graph(ADD, loop("times: 9, swap: [t, w]", SCALE_Z, launch("opaque", "x, z, int32(n)"))),
               buffers=graph(T, W)),
        [("warning idle-loop graph[1].repeat", "the loop swaps t and w", "write w in the loop")],
    ),
    "until on what is not written": (
        action(graph(ADD, loop("times: 9, until: {buffer: c, below: 1}", SCALE_Z)),
               buffers="c: {io: const, dtype: float32, shape: [n]}"),
        [("warning idle-loop graph[1].repeat.until", "no step in it writes c", "leave out until")],
    ),
    "pointer that could be const": (
        action(launch("peek", "x, z, int32(n)")),
        [("note could-be-const kernels.cu:3", "peek never writes through 'float* x'", "const float* x")],
    ),
    "const behind a pointer that may be written": (
        action(launch("opaque", "w, z, int32(n)"), buffers="w: {io: const, dtype: float32, shape: [n]}"),
        [
            ("warning const-written graph[0].args[0]", "may write w through 'float* x', and w is const", "io: inout"),
            ("warning unread buffers.x", "", ""),
        ],
    ),
    "const behind a pointer that is proven to be read": (
        action(launch("peek", "w, z, int32(n)"), buffers="w: {io: const, dtype: float32, shape: [n]}"),
        [
            ("note could-be-const kernels.cu:3", "", ""),
            ("warning unread buffers.x", "", ""),
        ],
    ),
    "pointers of which nothing is proven": (action(launch("opaque", "x, z, int32(n)")), []),
    "block that is no multiple of a warp": (
        action(launch("add", "x, z, int32(n)", "threads: [n], block: [48]")),
        [("note block-size graph[0].block", "has 48 threads, no multiple of 32", "such as 64")],
    ),
    "block of two extents that together are": (
        action(launch("add", "x, z, int32(n)", "threads: [n, 1], block: [8, 8]")), []
    ),
    "block by a default over the limit": (
        action(launch("add", "x, z, int32(n)", "threads: [n], block: [b]"), params="b: {type: int32, default: 2048}"),
        [("error launch-limits graph[0].block", "2048 threads along x (with b = 2048)", "a smaller block")],
    ),
    "block of three extents over the limit": (
        action(launch("add", "x, z, int32(n)", "threads: [n], block: [b, 8, 8]"),
               params="b: {type: int32, default: 32}"),
        [("error launch-limits graph[0].block", "32 x 8 x 8 = 2048 threads", "a smaller block")],
    ),
    "grid by a default over the limit": (
        action(launch("add", "x, z, int32(n)", "grid: [1, b], block: [32]"), params="b: {type: int32, default: 70000}"),
        [("error launch-limits graph[0].grid", "70000 blocks along y", "put the large extent first")],
    ),
    "threads over the grid's limit": (
        action(launch("add", "x, z, int32(n)", "threads: [1, 640000], block: [32, 8]")),
        [("error launch-limits graph[0].threads", "80000 blocks along y", "put the large extent first")],
    ),
    "shared memory over the limit": (
        action(launch("add", "x, z, int32(n)", "grid: [1], block: [32], shared: b * 1024"),
               params="b: {type: int32, default: 300}"),
        [("error launch-limits graph[0].shared", "asks for 307200 bytes", "smaller tiles")],
    ),
    "limit that only the last round passes": (
        action(loop("times: 5, as: k", launch("add", "x, z, int32(k)", "grid: [1], block: [32], shared: k * 20000"))),
        [("error launch-limits graph[0].repeat.steps[0].shared", "80000 bytes of shared memory (with k = 4)", "tiles")],
    ),
    "threads that no count bounds": (
        action(launch("free", "x, z")),
        [("note unguarded-threads graph[0].threads", "n to a multiple of 32", "int32(n)")],
    ),
    "threads that are whole blocks": (action(launch("free", "x, z", "threads: [128], block: [32]")), []),
    "threads that are not": (
        action(launch("free", "x, z", "threads: [100], block: [32]")),
        [("note unguarded-threads graph[0].threads", "100 to 128", "int32(n)")],
    ),
    "view between elements": (
        action(launch("add", "x, {buffer: z, offset: 6}, int32(n)")),
        [("warning view-bounds graph[0].args[1]", "between two elements of 4 bytes", "by 4")],
    ),
    "view beyond a buffer of fixed size": (
        action(launch("opaque", "x, {buffer: f, offset: 40}, int32(n)") + "\n" + ADD,
               buffers="f: {io: temp, dtype: float32, shape: [10]}"),
        [("error view-bounds graph[0].args[1]", "byte 40, and f has 40", "begins at byte 36")],
    ),
    "division by a default of zero": (
        action(launch("add", "x, z, int32(n)", "grid: [4 // a], block: [32]"), params="a: {type: int32, default: 0}"),
        [("error expression-range graph[0].grid[0]", "divides by zero (a = 0)", "")],
    ),
    "index that runs below zero": (
        action(loop("times: 5, as: k", launch("add", "x, z, int32(k)", "grid: [3 - k], block: [32]"))),
        [("error expression-range graph[0].repeat.steps[0].grid[0]", "gives -1", "")],
    ),
    "let that has no value": (
        action(launch("add", "x, z, int32(h)"), params="a: {type: int32, default: 0}", let="h: 7 % a"),
        [("error expression-range let.h", "divides by zero", "")],
    ),
    "arguments that do not fit, in several steps": (
        action(graph(launch("add", "x, z, int64(n)"), launch("scale", "z"), launch("add", "x, int32(n), z"))),
        [
            ("error signature-mismatch graph[0].args[2]", "does not take int64(n)", "give it int32"),
            ("error signature-mismatch graph[1].args", "takes 2 arguments, and the step gives 1", "'int n'"),
            ("error signature-mismatch graph[2].args[1]", "is a pointer", "args: [x, z, int32(n)]"),
            ("error signature-mismatch graph[2].args[2]", "is no pointer", "as above"),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_findings(case: str) -> None:
    manifest, expected = CASES[case]
    found = sorted(found_in(manifest), key=described)
    assert [described(finding) for finding in found] == [head for head, _, _ in expected], "\n".join(map(str, found))
    for finding, (_, what, fix) in zip(found, expected, strict=True):
        assert what in finding.what
        assert fix in finding.fix
        assert finding.line


def test_each_line_is_that_of_the_place() -> None:
    manifest = action(graph(launch("add", "x, z, int64(n)"), launch("scale", "z, float32(n)")))
    lines = manifest.splitlines()
    for finding in found_in(manifest):
        assert finding.line is not None
        assert finding.what.split("'")[0].removesuffix("s parameter ") in lines[finding.line - 1]


def test_more_is_found_with_sizes() -> None:
    view = action(launch("add", "x, {buffer: z, offset: n * 4}, int32(n)"))
    assert found_in(view) == []
    (finding,) = found_in(view, shapes={"x": (100,)})
    assert described(finding) == "error view-bounds graph[0].args[1]"
    assert finding.what == "the view of z begins at byte 400 (with n = 100), and z has 400"

    rows = action(launch("add", "x, z, int32(n)", "grid: [1, n], block: [32]"))
    assert found_in(rows) == []
    (finding,) = found_in(rows, shapes={"x": (70000,)})
    assert described(finding) == "error launch-limits graph[0].grid"

    looped = action(graph(loop("times: a", "- fill: {buffer: t, value: 1}"), "- copy: {from: t, to: z}"),
                    params="a: {type: int32}", buffers=T)  # fmt: skip
    assert "undefined" not in [one.rule for one in found_in(looped, shapes={"x": (100,)}, a=1)]
    (finding,) = [one for one in found_in(looped, shapes={"x": (100,)}, a=0) if one.rule == "undefined"]
    assert finding.what == "the copy from t to z (line 11) reads t before any step has written it (with a = 0)"

    free = action(launch("free", "x, z"))
    assert [one.severity for one in found_in(free, shapes={"x": (100,)})] == ["note"]
    assert found_in(free, shapes={"x": (128,)}) == []


def test_the_limits_are_the_devices() -> None:
    shared = action(launch("add", "x, z, int32(n)", "grid: [1], block: [32], shared: 65536"))
    assert len(found_in(shared)) == 1
    assert found_in(shared, limits=Limits(shared_bytes=1 << 17)) == []


def test_what_a_kernel_declares_counts_with_what_its_launch_asks_for() -> None:
    shared = action(launch("add", "x, z, int32(n)", "grid: [1], block: [32], shared: 40960"))
    assert found_in(shared, needs={"static_shared": 8192}) == []
    (finding,) = found_in(shared, needs={"static_shared": 8196})
    assert described(finding) == "error launch-limits graph[0].shared"
    assert finding.what == "add asks for 40960 bytes of shared memory beside the 8196 that it declares"


def test_blocks_keep_the_kernels_launch_bound() -> None:
    blocks = action(
        launch("add", "x, z, int32(n)", "threads: [n], block: [b, 2]"), params="b: {type: int32, default: 64}"
    )
    assert found_in(blocks, needs={"most_threads": 128}) == []
    (finding,) = found_in(blocks, needs={"most_threads": 96})
    assert described(finding) == "error launch-limits graph[0].block"
    assert finding.text == (
        "a block of add has 64 x 2 = 128 threads (with b = 64): its __launch_bounds__ allow 96, so the launch would be "
        "refused; use a smaller block, or allow more"
    )


def test_too_many_bytes_of_arguments() -> None:
    names = [f"b{number}" for number in range(80)]
    params = ", ".join(f"{name}: {{type: complex128}}" for name in names)
    many = action(launch("add", ", ".join(names * 4)), params=params)
    assert "error launch-limits graph[0].args" in [described(finding) for finding in found_in(many)]


def test_nothing_is_said_of_data_where_a_source_did_not_compile() -> None:
    unknown = action(graph(launch("missing", "x, t, int32(n)"), launch("missing", "t, z, int32(n)")), buffers=T)
    assert found_in(unknown) == []


def test_a_kernel_whose_arguments_do_not_fit_says_nothing_of_data() -> None:
    assert [finding.rule for finding in found_in(action(launch("add", "z, x, float32(n)")))] == ["signature-mismatch"]


def test_cubins_alone_are_taken_at_their_word() -> None:
    step = "- {kernel: k, cubins: {sm_90: k.cubin}, args: [x, t], reads: [x], writes: [t], grid: [1], block: [32]}"
    found = found_in(action(graph(step, ADD), buffers=T))
    assert [described(finding) for finding in found] == [
        "warning unread graph[0].args",
        "note untried graph[0].kernel",
    ]


def test_an_action_of_the_plans_tests_is_read_as_they_read_it() -> None:
    (finding,) = [
        one
        for one in found_in(f"{HEAD}  - copy: {{from: x, to: z}}\n  - fill: {{buffer: y, value: 1}}\n")
        if one.rule == "unread" and one.path == "buffers.y"
    ]
    assert "declare io: out" in finding.fix
