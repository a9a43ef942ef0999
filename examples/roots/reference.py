"""What the roots example must compute, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Single roots to a few digits less than double precision has; `moved` is nothing beside the roots.
RTOL, ATOL = 1e-9, 1e-11

Array = np.ndarray[Any, Any]


def expected(coefficients: Array, tolerance: float = 1e-12, limit: int = 1000) -> dict[str, Array]:
    """The roots that numpy.roots finds, in the order in which Weierstrass's iteration comes to them."""
    degree = len(coefficients) - 1
    radius = max(np.abs(coefficients[-1] / coefficients[0]) ** (1 / degree), 1e-3)
    found = radius * np.exp(1j * np.pi * (2 * np.arange(degree) + 0.4) / degree)
    moved = np.inf
    for _ in range(limit):
        distances = found[:, None] - found + np.eye(degree)
        way = np.polyval(coefficients, found) / (coefficients[0] * distances.prod(axis=1))
        found, moved = found - way, np.abs(way).max()
        if moved < tolerance:
            break
    exact = np.roots(coefficients)
    return {"roots": exact[np.abs(exact - found[:, None]).argmin(axis=1)], "moved": np.array(moved)}
