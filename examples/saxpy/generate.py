"""Write the inputs of the saxpy example as .npy files: `python generate.py [DIRECTORY]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

PARAMS: dict[str, Any] = {"a": 2.0}


def inputs(n: int = 1 << 20, seed: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    """x and y: float32[n], uniform in [0, 1)."""
    random = np.random.default_rng(seed)
    return {"x": random.random(n, dtype=np.float32), "y": random.random(n, dtype=np.float32)}


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in inputs().items():
        np.save(directory / f"{name}.npy", array)
        print(f"{directory / name}.npy  {array.dtype}{list(array.shape)}")
