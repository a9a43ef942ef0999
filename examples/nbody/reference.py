"""What the nbody example must compute, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

#: float32 against float64, and each step builds on the errors of the one before.
RTOL, ATOL = 1e-3, 1e-4

Array = np.ndarray[Any, Any]


def expected(
    bodies: Array, velocities: Array, steps: int = 100, dt: float = 0.01, softening: float = 0.05
) -> dict[str, Array]:
    """Places and velocities after `steps` steps, each of which changes the velocities first."""
    places, masses, speeds = (part.astype(np.float64) for part in (bodies[:, :3], bodies[:, 3], velocities[:, :3]))
    for _ in range(steps):
        ways = places[None] - places[:, None]
        pull = masses / ((ways**2).sum(axis=2) + softening**2) ** 1.5
        speeds += dt * (pull[..., None] * ways).sum(axis=1)
        places += dt * speeds
    return {
        "bodies": np.column_stack([places, masses]).astype(np.float32),
        "velocities": np.column_stack([speeds, velocities[:, 3]]).astype(np.float32),
    }
