"""The schema published for editors says what the parser says."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from manifest_cases import FULL, SAXPY, damaged_trees, plain
from manifest_refusals import BROKEN

from kaas import _graph_reader, _kernel_reader, _manifest_reader, _yaml
from kaas._sections import RESERVED
from kaas.dtypes import DTYPES
from kaas.errors import AuthorError
from kaas.expressions import FUNCTIONS
from kaas.manifest import Manifest

ROOT = Path(__file__).parents[2]
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs/manifest.schema.json").read_text("utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)
DOCUMENT = (ROOT / "docs/manifest.md").read_text("utf-8")


def is_valid(text: str) -> bool:
    return not list(VALIDATOR.iter_errors(plain(_yaml.read(text, "kaas.yaml"))))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def _examples() -> Iterator[str]:
    yield from (SAXPY, FULL)
    example = DOCUMENT.partition("## Example\n\n")[2].partition("\n\n")[0]
    yield textwrap.dedent(example)
    for path in sorted((ROOT / "examples").glob("*/kaas.yaml")):
        yield path.read_text("utf-8")


@pytest.mark.parametrize("text", list(_examples()))
def test_good_manifests_are_valid(text: str) -> None:
    Manifest.parse(text)
    assert list(VALIDATOR.iter_errors(plain(_yaml.read(text, "kaas.yaml")))) == []


@given(st.sampled_from([SAXPY, FULL]).flatmap(damaged_trees))
def test_what_the_parser_takes_the_schema_takes(text: str) -> None:
    try:
        Manifest.parse(text)
    except AuthorError:
        return
    assert is_valid(text)


#: Where rules stand that a schema cannot say: they compare values with types and buffers that stand elsewhere.
_BEYOND = (
    *("default", "args[0]", "fill.buffer", "fill.value", "copy.to", "swap"),
    *("block", "block[0]", "block[2]", "threads[1]", "grid[0]", "grid[1]", "shared", "offset", "times", "every"),
    *("reads", "reads[1]", "writes", "graph[6]", "rename.image", "rename.factor", "from", "freshness"),
    "events.input",
)


@pytest.mark.parametrize("case", BROKEN, ids=[f"{case[3]}-{case[1][:30]}" for case in BROKEN])
def test_broken_manifests(case: tuple[str, str, str, str, str, str | None]) -> None:
    old, new, code, where, part, _ = case
    valid = is_valid(FULL.replace(old, new))
    if code in ("unknown_key", "name_reserved", "not_supported"):
        assert not valid
    elif code in ("name_unknown", "name_duplicate", "expression_invalid"):
        assert valid
    else:
        assert code == "manifest_invalid"
        assert not valid or where.endswith(_BEYOND) or "YAML splits" in part or part.endswith("not inf")


def _keys(name: str) -> set[str]:
    """The keys of one part of the schema."""
    properties = SCHEMA["properties"] if name == "" else SCHEMA["$defs"][name]["properties"]
    if name in ("fill", "copy", "repeat"):
        properties = properties[name]["properties"]
    return set(properties)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("", _manifest_reader._KEYS),
        ("param", _manifest_reader._PARAM_KEYS),
        ("buffer", _manifest_reader._BUFFER_KEYS),
        ("kernel", _kernel_reader.KEYS),
        ("repeat", _graph_reader._REPEAT_KEYS),
    ],
)
def test_the_keys_are_the_parsers(name: str, known: tuple[str, ...]) -> None:
    assert _keys(name) == set(known)


def test_the_page_has_every_key() -> None:
    properties = [
        SCHEMA["properties"],
        *(part["properties"] for part in SCHEMA["$defs"].values() if "properties" in part),
    ]
    for key in {key for part in properties for key in part}:
        assert f"`{key}`" in DOCUMENT or f"`{key}:" in DOCUMENT or f"{{{key}:" in DOCUMENT, key
    for name in (*RESERVED, *FUNCTIONS):
        assert f"`{name}" in DOCUMENT, name


def test_the_names_are_the_parsers() -> None:
    assert SCHEMA["$defs"]["dtype"]["enum"] == list(DTYPES)
    assert set(SCHEMA["$defs"]["name"]["not"]["enum"]) == {*RESERVED, *FUNCTIONS, *DTYPES}
