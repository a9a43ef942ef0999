"""Write the inputs of the kmeans example as .npy files: `python generate.py [DIRECTORY]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

PARAMS: dict[str, Any] = {}


def inputs(height: int = 90, width: int = 130, seed: int = 10) -> dict[str, np.ndarray[Any, Any]]:
    """image: uint8[height, width, 3], a few shapes of one colour each, shaded and with noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    image = np.broadcast_to(np.array([60.0, 90.0, 160.0]), (height, width, 3)).copy()
    for _ in range(12):
        centre_y, centre_x, radius = random.integers(height), random.integers(width), random.integers(8, 30)
        image[(y - centre_y) ** 2 + (x - centre_x) ** 2 < radius**2] = random.integers(0, 256, 3)
    shaded = image * (0.7 + 0.3 * x / width)[..., None] + random.normal(0, 6, image.shape)
    return {"image": shaded.clip(0, 255).astype(np.uint8)}


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in inputs().items():
        np.save(directory / f"{name}.npy", array)
        print(f"{directory / name}.npy  {array.dtype}{list(array.shape)}")
