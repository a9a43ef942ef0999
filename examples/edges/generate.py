"""Write the inputs of the edges example as .npy files: `python generate.py [DIRECTORY]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

PARAMS: dict[str, Any] = {"amount": 1.5}


def inputs(height: int = 200, width: int = 333, seed: int = 11) -> dict[str, np.ndarray[Any, Any]]:
    """image: uint16[height, width], a bright disc and a bar on a gradient, slightly out of focus, and noise."""
    y, x = np.mgrid[0:height, 0:width]
    disc = 1 / (1 + np.exp((np.hypot(x - width / 2, y - height / 2) - height / 4) / 2))
    bar = 1 / (1 + np.exp(np.abs(x - y - width / 5) - 8))
    noise = np.random.default_rng(seed).normal(0, 300, (height, width))
    return {"image": (8000 + 12_000 * x / width + 25_000 * disc + 15_000 * bar + noise).astype(np.uint16)}


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in inputs().items():
        np.save(directory / f"{name}.npy", array)
        print(f"{directory / name}.npy  {array.dtype}{list(array.shape)}")
