"""Write the inputs of the blur example as .npy files: `python generate.py [DIRECTORY]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

PARAMS: dict[str, Any] = {"radius": 4}


def inputs(height: int = 480, width: int = 641, seed: int = 4) -> dict[str, np.ndarray[Any, Any]]:
    """image: uint8[height, width], a gradient with a bright disc and noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    disc = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2
    image = 96 * x / width + 96 * disc + random.integers(0, 64, (height, width))
    return {"image": image.astype(np.uint8)}


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in inputs().items():
        np.save(directory / f"{name}.npy", array)
        print(f"{directory / name}.npy  {array.dtype}{list(array.shape)}")
