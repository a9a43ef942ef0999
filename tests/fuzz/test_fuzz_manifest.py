"""Manifests: whatever the text, a manifest or an author's error at a line of it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import yaml
from hunt import hunt
from hypothesis import strategies as st
from made_manifests import SEEDS, damaged_texts, texts, trees
from properties import VALUE, check_bundle, check_manifest

_SCHEMA = json.loads(Path(__file__).parents[2].joinpath("docs", "manifest.schema.json").read_text("utf-8"))
_VALIDATOR = jsonschema.Draft202012Validator(_SCHEMA)


def test_made_ones() -> None:
    hunt("manifest", texts(), check_manifest, short=100, share=0.01, known=SEEDS, outcomes=[VALUE, "manifest_invalid"])


def check_editors_agree(tree: object) -> str:
    """What the reader takes, the published schema takes too."""
    outcome = check_manifest(yaml.safe_dump(tree, sort_keys=False))
    if outcome == VALUE:
        _VALIDATOR.validate(tree)
    return outcome


def test_the_schema_for_editors_takes_what_is_read() -> None:
    hunt("manifest and schema", trees(), check_editors_agree, short=50, share=0.005, outcomes=[VALUE])


def test_damaged_ones() -> None:
    outcomes = [VALUE, "manifest_invalid"]
    hunt("damaged manifest", damaged_texts(), check_manifest, short=150, share=0.015, outcomes=outcomes)


def test_as_bundles() -> None:
    either = st.one_of(damaged_texts(), texts()).map(lambda text: text.encode("utf-8", "surrogatepass"))
    hunt("text bundle", either, check_bundle, short=40, share=0.005, outcomes=[VALUE])
