"""Findings themselves, how rules are found, and that the docs list them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from findings_cases import action, found_in, launch, subject_of
from hypothesis import given
from hypothesis import strategies as st
from manifest_cases import FULL, SAXPY, damaged_trees

from kaas.errors import AuthorError
from kaas.manifest import Manifest
from kaas_pool.compiler.signatures import read_signatures
from kaas_pool.findings import Finding, find, rules
from kaas_pool.findings.estimate import estimate
from kaas_pool.findings.finding import error, from_error, note, warning
from kaas_pool.findings.pointers import read_pointers

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for path in ROOT.glob("*/**/*.cu") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
FOLDER = ROOT / "gpu-pool" / "kaas_pool" / "findings" / "rules"


def test_every_file_is_a_rule() -> None:
    names = {path.stem.replace("_", "-") for path in FOLDER.glob("*.py") if path.stem != "__init__"}
    assert set(rules()) == names
    assert all(callable(rule) for rule in rules().values())


def test_the_docs_list_every_rule() -> None:
    text = (ROOT / "docs" / "check.md").read_text()
    listed = re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)
    assert set(rules()) <= set(listed)
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize(
    ("where", "file", "line", "column", "path"),
    [
        ("kaas.yaml:12 graph[0].args[1]", "kaas.yaml", 12, None, "graph[0].args[1]"),
        ("kaas.yaml:12:5", "kaas.yaml", 12, 5, None),
        ("src/my kernel.cu:3", "src/my kernel.cu", 3, None, None),
        ("my kernel.cu", "my kernel.cu", None, None, None),
        ("", "", None, None, None),
    ],
)
def test_places(where: str, file: str, line: int | None, column: int | None, path: str | None) -> None:
    finding = warning(where, "what", "why", "fix")
    assert (finding.file, finding.line, finding.column, finding.path) == (file, line, column, path)


def test_a_finding_is_one_paragraph() -> None:
    finding = error("kaas.yaml:3 params.a", "a\n  is wrong", "it fails", "mend it")
    assert finding.text == "a is wrong: it fails; mend it"
    assert str(finding) == "kaas.yaml:3: error: params.a: a is wrong: it fails; mend it []"
    assert note("k.cu:7", "w", "", "").text == "w"
    assert from_error(AuthorError("unknown_key", "m", hint="h", where="kaas.yaml:3 x")).rule == "unknown-key"


def test_findings_stand_in_the_order_of_the_files_the_gravest_first() -> None:
    found = found_in(action(launch("peek", "x, z, int64(n)"), params="a: {type: int32}"))
    assert [finding.order for finding in found] == sorted(finding.order for finding in found)
    one, other = error("f:1", "z", "", ""), note("f:1", "a", "", "")
    assert sorted([other, one], key=lambda finding: finding.order) == [one, other]


def test_the_json_form_has_every_field() -> None:
    finding = from_error(AuthorError("unknown_key", "m", hint="h", where="kaas.yaml:3 x"))
    assert json.loads(json.dumps(finding.to_json())) == {
        "severity": "error",
        "rule": "unknown-key",
        "file": "kaas.yaml",
        "line": 3,
        "column": None,
        "path": "x",
        "what": "m",
        "why": "",
        "fix": "h",
    }
    assert isinstance(finding, Finding)


def test_deep_and_long_graphs_are_followed_quickly() -> None:
    step = launch("scale", "z, int32(n)").removeprefix("- ")
    for _ in range(8):
        step = f"{{repeat: {{times: 1000000, steps: [{step}, {launch('add', 'x, z, int32(n)')[2:]}]}}}}"
    assert find(subject_of(action(f"- {step}"))) == []


@given(st.sampled_from((SAXPY, FULL)).flatmap(damaged_trees))
def test_no_manifest_confuses_the_rules(text: str) -> None:
    manifest, _ = Manifest.parse_all(text)
    if manifest is not None:
        for finding in find(subject_of(manifest)):
            assert finding.line is not None
            assert finding.what


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_confuses_the_reader_of_pointers(source: Path) -> None:
    text = source.read_text("utf-8", "replace")
    for signature in read_signatures(text):
        for at in read_pointers(text, signature):
            assert signature.parameters[at].is_pointer


def test_what_an_invocation_takes() -> None:
    buffers = (
        "t: {io: temp, dtype: float32, shape: [n]}\nc: {io: const, dtype: float32, shape: [k]}\n"
        "y: {io: inout, dtype: float32, shape: [n]}"
    )
    loop = f"- repeat: {{times: iters, as: i, steps: [{launch('scale', 't, int32(i)', 'grid: [i], block: [32]')[2:]}]}}"
    steps = [
        launch("add", "x, t, int32(n)"),
        loop,
        launch("add", "t, z, int32(n)"),
        "- copy: {from: z, to: y}",
        "- fill: {buffer: z, value: 0}",
        launch("opaque", "c, z, int32(n)"),
        launch("add", "x, {buffer: z, offset: 400}, int32(n)", "threads: [n - n], block: [32]"),
    ]
    manifest = action("\n".join(steps), buffers=buffers, params="iters: {type: int32, default: 5}")
    found = estimate(subject_of(manifest, shapes={"x": (1000,), "c": (250,), "y": (1000,)}))
    n, k = 4000, 1000
    assert (found.loaded_bytes, found.bundled_bytes, found.stored_bytes) == (2 * n + k, 0, 2 * n)
    # The round with index 0 has an empty grid, and so has the last launch.
    assert found.launches == 1 + 4 + 1 + 1
    assert found.moved_bytes == 2 * n + 4 * 2 * n + 2 * n + 2 * n + n + 2 * (k + n)
    # x, c and its copy, y and its copy, z, and t.
    assert found.peak_bytes == 4096 * 5 + 1024 * 2
    assert set(found.to_json()) == {
        *("peak_bytes", "loaded_bytes", "bundled_bytes", "stored_bytes", "launches", "moved_bytes")
    }


def test_a_loop_of_many_rounds_is_not_walked() -> None:
    step = launch("add", "x, z, int32(i)", "grid: [i], block: [32]")[2:]
    manifest = action(f"- repeat: {{times: iters, as: i, steps: [{step}]}}", params="iters: {type: int64}")
    found = estimate(subject_of(manifest, shapes={"x": (10,)}, iters=10**12))
    assert 0.99e12 < found.launches <= 10**12
