"""What the jacobi example must compute, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

#: float32 sums against float64 ones; the method contracts errors from round to round.
RTOL, ATOL = 1e-4, 1e-6


def expected(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], iters: int = 100) -> dict[str, np.ndarray[Any, Any]]:
    """x after `iters` rounds from zero, computed in float64."""
    wide = a.astype(np.float64)
    diagonal = np.diag(wide)
    rest = wide - np.diag(diagonal)
    x = np.zeros(len(b))
    for _ in range(iters):
        x = (b - rest @ x) / diagonal
    return {"x": x.astype(np.float32)}
