"""Write the inputs of the histogram example as .npy files: `python generate.py [DIRECTORY]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

PARAMS: dict[str, Any] = {}


def inputs(n: int = 1_000_003, seed: int = 5) -> dict[str, np.ndarray[Any, Any]]:
    """data: uint8[n], with some values far more frequent than others."""
    random = np.random.default_rng(seed)
    return {"data": (random.normal(128, 40, n) % 256).astype(np.uint8)}


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in inputs().items():
        np.save(directory / f"{name}.npy", array)
        print(f"{directory / name}.npy  {array.dtype}{list(array.shape)}")
