"""Write the inputs of the nbody example as .npy files: `python generate.py [DIRECTORY]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

PARAMS: dict[str, Any] = {"steps": 20}


def inputs(n: int = 300, seed: int = 13) -> dict[str, np.ndarray[Any, Any]]:
    """bodies and velocities: float32[n, 4], a disc that turns around a heavy body; n is no multiple of the block."""
    random = np.random.default_rng(seed)
    angle, radius = random.uniform(0, 2 * np.pi, n), random.uniform(0.5, 2, n)
    radius[0] = 0
    flat = np.stack([np.cos(angle), np.sin(angle), random.normal(0, 0.02, n)], axis=1)
    masses = np.where(radius == 0, 10, 0.001)
    speed = np.sqrt(10 / np.maximum(radius, 1e-9)) * (radius > 0)
    turned = np.stack([-flat[:, 1], flat[:, 0], np.zeros(n)], axis=1)
    bodies = np.column_stack([radius[:, None] * flat, masses])
    velocities = np.column_stack([speed[:, None] * turned, np.zeros(n)])
    return {"bodies": bodies.astype(np.float32), "velocities": velocities.astype(np.float32)}


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in inputs().items():
        np.save(directory / f"{name}.npy", array)
        print(f"{directory / name}.npy  {array.dtype}{list(array.shape)}")
