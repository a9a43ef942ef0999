"""Every example is complete: what makes its inputs, and what they must come to."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from plan_cases import binding_of, signatures_of

from kaas.manifest import Manifest
from kaas_pool.limits import Limits
from kaas_pool.plan import Plan

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


def test_the_branches_of_edges_overlap() -> None:
    folder = ROOT / "examples" / "edges"
    manifest = Manifest.parse((folder / "kaas.yaml").read_bytes())
    signatures = signatures_of(manifest, "".join(path.read_text() for path in folder.glob("*.cu")))
    plan = Plan.build(manifest, binding_of(manifest, {"image": (600, 800)}), signatures, Limits())
    assert plan.lanes == 3
