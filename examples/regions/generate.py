"""Write the inputs of the regions example as .npy files: `python generate.py [DIRECTORY]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

PARAMS: dict[str, Any] = {"threshold": 120}


def inputs(height: int = 150, width: int = 201, seed: int = 21) -> dict[str, np.ndarray[Any, Any]]:
    """image: uint8[height, width], a field of waves whose crests are regions of all shapes."""
    y, x = np.mgrid[0:height, 0:width]
    random = np.random.default_rng(seed)
    waves = sum(np.sin(a * x + b * y + c) for a, b, c in random.normal(0, 0.15, (6, 3)) * [1, 1, 20])
    return {"image": (128 + 20 * waves).astype(np.uint8)}


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in inputs().items():
        np.save(directory / f"{name}.npy", array)
        print(f"{directory / name}.npy  {array.dtype}{list(array.shape)}")
