"""The repository's examples, as the demonstration runs them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from kaas.bundle import Bundle
from kaas_cli.cubins import make_cubins
from kaas_cli.output import Failure
from kaas_cli.sources import located

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Example:
    """A kernel action, arrays to run it on, and what must come out."""

    name: str
    content: bytes
    params: dict[str, Any]
    inputs: Arrays
    expected: Arrays
    rtol: float
    atol: float

    def is_equal(self, outputs: Arrays) -> bool:
        """Whether the outputs are NumPy's, within the example's own tolerance."""
        return set(outputs) == set(self.expected) and all(
            outputs[name].dtype == array.dtype
            and outputs[name].shape == array.shape
            and np.allclose(outputs[name], array, rtol=self.rtol, atol=self.atol)
            for name, array in self.expected.items()
        )


def example_folder(name: str) -> Path:
    """Where an example lies; raises Failure outside of a clone."""
    folder = Path(__file__).parents[2] / "examples" / name
    if not folder.is_dir():
        raise Failure(
            f"there is no folder {folder}", hint="the demonstration runs the examples of a clone of the repository"
        )
    return folder


def load_example(name: str, given: Mapping[str, Any] | None = None, **sizes: int) -> Example:
    """Read an example's folder, make its inputs and compute what is expected.

    The inputs have `sizes`, as its generate.py names them, and the call the parameters `given`, where they are not its
    own.
    """
    folder = example_folder(name)
    content = pack_example(folder)
    generate, reference = load_script(folder / "generate.py"), load_script(folder / "reference.py")
    params: dict[str, Any] = generate.PARAMS if given is None else dict(given)
    inputs: Arrays = generate.inputs(**sizes)
    return Example(
        name=Bundle.open(content).manifest.name,
        content=content,
        params=params,
        inputs=inputs,
        expected=reference.expected(**inputs, **params),
        rtol=reference.RTOL,
        atol=reference.ATOL,
    )


def pack_example(folder: Path) -> bytes:
    """The zip of an example, with the cubins that it declares as `kaas build --arch` makes them."""
    with located(folder):
        manifest, _ = Bundle.read(folder)
        declared = {architecture: None for source in manifest.kernels for architecture, _ in source.cubins}
        return Bundle.pack(folder, make_cubins(folder, list(declared)) if declared else None)


def load_script(path: Path) -> ModuleType:
    """A Python file beside an example, as a module."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
