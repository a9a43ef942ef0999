"""Write the inputs of the sgemm example as .npy files: `python generate.py [DIRECTORY]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

PARAMS: dict[str, Any] = {"alpha": 0.5}


def inputs(m: int = 200, n: int = 300, k: int = 250, seed: int = 2) -> dict[str, np.ndarray[Any, Any]]:
    """a: float32[m, k] and b: float32[k, n], uniform in [0, 1); none of the sizes is a multiple of the tile."""
    random = np.random.default_rng(seed)
    return {"a": random.random((m, k), dtype=np.float32), "b": random.random((k, n), dtype=np.float32)}


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in inputs().items():
        np.save(directory / f"{name}.npy", array)
        print(f"{directory / name}.npy  {array.dtype}{list(array.shape)}")
