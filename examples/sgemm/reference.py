"""What the sgemm example must compute, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Sums of k products, added in another order than NumPy does.
RTOL, ATOL = 1e-4, 1e-5


def expected(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], alpha: float = 1.0) -> dict[str, np.ndarray[Any, Any]]:
    """c = alpha * a @ b."""
    return {"c": np.float32(alpha) * (a @ b)}
