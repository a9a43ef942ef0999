"""Write the inputs of the mlp example as .npy files: `python generate.py [DIRECTORY]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

PARAMS: dict[str, Any] = {}


def spirals(n: int, random: np.random.Generator) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """n points in the plane, and the spiral of three that each belongs to."""
    classes = np.arange(n) % 3
    along = random.uniform(0.1, 1, n)
    angle = 2 * np.pi * (classes / 3 + 0.75 * along) + random.normal(0, 0.12, n)
    return np.stack([along * np.cos(angle), along * np.sin(angle)], axis=1), classes


def inputs(n: int = 1000, seed: int = 15) -> dict[str, np.ndarray[Any, Any]]:
    """x: float32[n, 2], points of three spirals in turn."""
    return {"x": spirals(n, np.random.default_rng(seed))[0].astype(np.float32)}


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in inputs().items():
        np.save(directory / f"{name}.npy", array)
        print(f"{directory / name}.npy  {array.dtype}{list(array.shape)}")
