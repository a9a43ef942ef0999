"""What is said of an accepted call."""

from __future__ import annotations

from typing import Any

import pytest
from manifest_cases import SAXPY

from kaas.call import Call
from kaas.manifest import Manifest
from kaas.remarks import remarks

MANIFEST = Manifest.parse(SAXPY)
KEYS = {"endpoint": "http://127.0.0.1:9000", "access_key": "k", "secret_key": "s"}
RAW = "is read as raw bytes, since its name ends in neither .npy nor .safetensors; numpy.save writes .npy"


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ({}, []),
        (KEYS, []),
        ({"photo": "s3://data/p.png", "kaas": {}, **KEYS}, ["the action has no use for 'photo'"]),
        ({"aa": 9, **KEYS}, ["'aa' is no argument of the action; was 'a' meant?"]),
        ({"A": 9, "q": 1}, ["'A' is no argument of the action; was 'a' meant?", "the action has no use for 'q'"]),
        ({"A": 9, "a": 2}, ["the action has no use for 'A'"]),
        ({"Z": "inline", "z": None, "outputs": "s3://out/z"}, ["the action has no use for 'Z'"]),
        ({"rename": {"image": "x"}, "image": [1, 2]}, []),
        ({"x": "s3://data/day/x.csv"}, [f"arguments.x: x.csv {RAW}"]),
        ({"rename": {"image": "x"}, "image": "s3://data/x.PNG"}, [f"arguments.image: x.PNG {RAW}"]),
        ({"x": "s3://data/x.BIN"}, []),
        ({"x": "s3://data/v1.2/x"}, []),
        ({"x": "s3://data/x.csv?offset=0&size=8"}, []),
        ({"x": "s3://data/x.safetensors#w"}, []),
    ],
)
def test_remarks(arguments: dict[str, Any], lines: list[str]) -> None:
    given = {"x": [1, 2], "y": [3, 4], "z": "inline", **arguments}
    call = Call.parse(MANIFEST, given, activation_id="f00")
    assert list(remarks(MANIFEST, given, call)) == lines


def test_a_misspelt_output_that_has_another_place_is_told() -> None:
    given = {"x": [1, 2], "y": [3, 4], "Z": "inline", "outputs": "s3://out/results"}
    call = Call.parse(MANIFEST, given, activation_id="f00")
    assert remarks(MANIFEST, given, call) == ("'Z' is no argument of the action; was 'z' meant?",)
