"""What the cg example must compute, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Both stop near the tolerance; how near, the order of the sums decides.
RTOL, ATOL = 1e-7, 1e-9


def expected(
    values: np.ndarray[Any, Any],
    columns: np.ndarray[Any, Any],
    rows: np.ndarray[Any, Any],
    b: np.ndarray[Any, Any],
    tolerance: float = 1e-8,
    limit: int = 10000,
) -> dict[str, np.ndarray[Any, Any]]:
    """x, solved directly, and the square of its residual, which is nothing beside the tolerance."""
    n = len(b)
    a = np.zeros((n, n))
    a[np.repeat(np.arange(n), np.diff(rows)), columns] = values
    x = np.linalg.solve(a, b)
    return {"x": x, "residual": np.array(np.sum((b - a @ x) ** 2))}
