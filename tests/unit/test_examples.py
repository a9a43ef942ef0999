"""Every example is complete: what makes its inputs, and what they must come to."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/kaas.yaml"))


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_reference_fits_the_generator(example: Path) -> None:
    assert (example / "README.md").is_file()
    generate, reference = load(example / "generate.py"), load(example / "reference.py")
    inputs = generate.inputs()
    again = generate.inputs()
    assert all(np.array_equal(inputs[name], again[name]) for name in inputs), "a seed makes the same inputs"
    outputs = reference.expected(**inputs, **generate.PARAMS)
    assert outputs and all(np.isfinite(output).all() and output.any() for output in outputs.values())
