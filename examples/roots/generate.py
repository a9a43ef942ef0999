"""Write the inputs of the roots example as .npy files: `python generate.py [DIRECTORY]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

PARAMS: dict[str, Any] = {"tolerance": 1e-13}


def inputs(degree: int = 12, seed: int = 12) -> dict[str, np.ndarray[Any, Any]]:
    """coefficients: complex128[degree + 1], that of the highest power first."""
    random = np.random.default_rng(seed)
    return {"coefficients": random.normal(size=degree + 1) + 1j * random.normal(size=degree + 1)}


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in inputs().items():
        np.save(directory / f"{name}.npy", array)
        print(f"{directory / name}.npy  {array.dtype}{list(array.shape)}")
