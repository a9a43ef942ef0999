"""docs/contracts.md holds the error table that the code reads."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "error_table.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script that writes the table."""
    spec = importlib.util.spec_from_file_location("error_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_holds_the_table(script: ModuleType) -> None:
    text = script.CONTRACTS.read_text("utf-8")
    assert text == script.with_table(text), "run: python scripts/error_table.py"


def test_a_page_without_markers_is_refused(script: ModuleType) -> None:
    with pytest.raises(ValueError, match="markers"):
        script.with_table("no table here")
