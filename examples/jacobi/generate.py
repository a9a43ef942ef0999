"""Write the inputs of the jacobi example as .npy files: `python generate.py [DIRECTORY]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

PARAMS: dict[str, Any] = {"iters": 60}


def inputs(n: int = 256, seed: int = 3) -> dict[str, np.ndarray[Any, Any]]:
    """a: float32[n, n] with a dominant diagonal, so that the method converges, and b: float32[n]."""
    random = np.random.default_rng(seed)
    a = random.random((n, n), dtype=np.float32)
    a[np.diag_indices(n)] = 2 * a.sum(axis=1)
    return {"a": a, "b": random.random(n, dtype=np.float32)}


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in inputs().items():
        np.save(directory / f"{name}.npy", array)
        print(f"{directory / name}.npy  {array.dtype}{list(array.shape)}")
