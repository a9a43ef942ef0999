"""A damaged manifest is an author's error with a place, and never anything else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from manifest_cases import FULL, SAXPY, damaged_trees

from kaas.errors import AuthorError
from kaas.manifest import Manifest


def _check(text: str | bytes) -> None:
    try:
        Manifest.parse(text)
    except AuthorError as error:
        assert error.where is not None
        assert error.where.startswith("kaas.yaml")
        assert len(error.message) < 1000


@given(st.sampled_from([SAXPY, FULL]).flatmap(damaged_trees))
def test_any_value_anywhere(text: str) -> None:
    _check(text)


@given(st.data(), st.sampled_from([SAXPY, FULL]))
def test_any_damage_to_the_text(data: st.DataObject, text: str) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 8))
        text = text[:start] + data.draw(st.text(alphabet="nxk01:[]{},|&*!-# \n\"'()", max_size=6)) + text[end:]
    _check(text)


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    _check(content)
