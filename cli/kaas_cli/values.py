"""The `-p NAME=VALUE`, `--set NAME=VALUE` and `-o NAME=FILE` of the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kaas_cli.output import USAGE, Failure


def parse_values(
    words: Sequence[str], *, option: str = "-p", example: str = "a=2, x=s3://data/x.npy or x=@x.npy"
) -> dict[str, Any]:
    """`a=2` is JSON, `x=s3://data/x.npy` (no JSON) a text, and `x=@x.npy` the Path of a file."""
    values: dict[str, Any] = {}
    for name, text in _pairs(words, option, example):
        if name in values:
            raise Failure(f"{option} {name} is given twice", status=USAGE)
        values[name] = Path(text[1:]) if text.startswith("@") else _json_or_text(text)
    return values


def parse_files(words: Sequence[str]) -> dict[str, Path]:
    """`z=z.npy`."""
    files: dict[str, Path] = {}
    for name, text in _pairs(words, "-o", "z=z.npy"):
        if name in files:
            raise Failure(f"-o {name} is given twice", status=USAGE)
        files[name] = Path(text.removeprefix("@"))
    return files


def _pairs(words: Sequence[str], option: str, example: str) -> list[tuple[str, str]]:
    pairs = []
    for word in words:
        name, equals, text = word.partition("=")
        if not (name and equals and text):
            raise Failure(f"{option} {word!r} is not NAME=VALUE", hint=f"for example {option} {example}", status=USAGE)
        pairs.append((name, text))
    return pairs


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text
