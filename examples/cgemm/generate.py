"""Write the inputs of the cgemm example as .npy files: `python generate.py [DIRECTORY]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

PARAMS: dict[str, Any] = {"alpha": [0.5, -1.0], "beta": [0.0, 1.0]}


def inputs(m: int = 130, n: int = 170, k: int = 150, seed: int = 6) -> dict[str, np.ndarray[Any, Any]]:
    """a: complex64[m, k], b: complex64[k, n] and c: complex64[m, n]; none of the sizes is a multiple of the tile."""
    random = np.random.default_rng(seed)
    shapes = {"a": (m, k), "b": (k, n), "c": (m, n)}
    return {
        name: random.standard_normal((*shape, 2), np.float32).view(np.complex64)[..., 0]
        for name, shape in shapes.items()
    }


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in inputs().items():
        np.save(directory / f"{name}.npy", array)
        print(f"{directory / name}.npy  {array.dtype}{list(array.shape)}")
