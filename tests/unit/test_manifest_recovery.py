"""Several errors of one manifest at once: each true on its own, none that only follows from another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_cases import FULL, SAXPY, damaged_trees
from manifest_refusals import BROKEN

from kaas.errors import AuthorError
from kaas.manifest import Manifest

MANY = """\
kaas: 1
name: many
parms: {}
params:
  a: {type: float32, defalt: 1.0}
  iters: {type: int32}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n], zeroed: true}
graph:
  - {kernel: f, source: f.cu, threads: [n], blok: [256], args: [a, x, z, int32(n)]}
  - {kernel: f, source: f.cu, threads: [m], block: [256], args: [a, x, z, int32(n)]}
  - repeat:
      times: iters
      steps:
        - {kernel: f, source: f.cu, threads: [n], block: [256], args: [b, x, z, int32(n)]}
        - {kernel: g, source: f.cu, threads: [n], block: [256], args: [x, z]}
        - copy: {from: x, to: y}
  - {kernel: f, source: f.cu, threads: [n], block: [256], args: [a, x, z, n]}
  - {kernel: h, source: f.cu, threads: [n], block: [256], args: [x]}
"""


def test_every_key_and_every_step_is_told() -> None:
    manifest, errors = Manifest.parse_all(MANY)
    assert sorted((error.where or "").removeprefix("kaas.yaml:") for error in errors) == sorted(
        [
            "3 parms",
            "5 params.a.defalt",
            "9 buffers.z.zeroed",
            "11 graph[0].blok",
            "12 graph[1].threads[0]",
            "16 graph[2].repeat.steps[0].args[0]",
            "18 graph[2].repeat.steps[2].copy.to",
            "19 graph[3].args[3]",
        ]
    )
    assert manifest is not None
    # What reads is there under its own numbers, the step with the mistyped key included.
    assert [(step.kernel, step.where) for step in manifest.kernel_steps] == [
        ("f", "kaas.yaml:11 graph[0]"),
        ("g", "kaas.yaml:17 graph[2].repeat.steps[1]"),
        ("h", "kaas.yaml:20 graph[4]"),
    ]
    assert manifest.params["a"].default is not None


def test_bad_definitions_are_told_together_and_nothing_that_follows_from_them() -> None:
    text = MANY.replace("dtype: float32, shape: [n]}\n  z", "dtype: floot32, shape: [n]}\n  z").replace(
        "io: out", "io: output"
    )
    manifest, errors = Manifest.parse_all(text)
    assert manifest is None
    assert [(error.where or "").partition(" ")[2] for error in errors] == [
        "parms",
        "params.a.defalt",
        "buffers.x.dtype",
        "buffers.z.zeroed",
        "buffers.z.io",
    ]


def test_a_good_manifest_has_no_errors() -> None:
    for text in (SAXPY, FULL):
        manifest, errors = Manifest.parse_all(text)
        assert manifest is not None
        assert errors == ()


def test_what_is_no_yaml_is_one_error() -> None:
    manifest, errors = Manifest.parse_all("kaas: [")
    assert manifest is None
    assert len(errors) == 1


def first_error(text: str) -> AuthorError | None:
    try:
        Manifest.parse(text)
    except AuthorError as error:
        return error
    return None


def check(text: str) -> None:
    first = first_error(text)
    manifest, errors = Manifest.parse_all(text)
    if first is None:
        assert manifest is not None and errors == ()
    else:
        assert str(errors[0]) == str(first)
        assert len({str(error) for error in errors}) == len(errors)


@given(st.sampled_from((SAXPY, FULL)).flatmap(damaged_trees))
def test_the_first_error_is_that_of_parse(text: str) -> None:
    check(text)


@pytest.mark.parametrize(("old", "new"), [(case[0], case[1]) for case in BROKEN])
def test_the_refusals_stay_what_they_are(old: str, new: str) -> None:
    check(FULL.replace(old, new, 1))
