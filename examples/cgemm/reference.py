"""What the cgemm example must compute, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

#: Sums of k products, added in another order than NumPy does; they may cancel, so the bound is absolute.
RTOL, ATOL = 1e-5, 1e-3


def expected(
    a: np.ndarray[Any, Any],
    b: np.ndarray[Any, Any],
    c: np.ndarray[Any, Any],
    alpha: Sequence[float] = (1, 0),
    beta: Sequence[float] = (1, 0),
) -> dict[str, np.ndarray[Any, Any]]:
    """c = alpha * a @ b + beta * c; alpha and beta as the call gives them, real part and imaginary part."""
    return {"c": np.complex64(complex(*alpha)) * (a @ b) + np.complex64(complex(*beta)) * c}
