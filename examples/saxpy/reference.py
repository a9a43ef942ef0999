"""What the saxpy example must compute, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

#: The compiler may fuse the multiplication and the addition, which rounds once instead of twice.
RTOL, ATOL = 1e-6, 1e-7


def expected(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], a: float = 1.0) -> dict[str, np.ndarray[Any, Any]]:
    """z = a * x + y."""
    return {"z": np.float32(a) * x + y}
