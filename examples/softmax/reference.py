"""What the softmax example must compute, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

#: float32 sums of 15,000 terms, and exponentials with errors in their last digits.
RTOL, ATOL = 1e-4, 1e-12


def expected(
    scores: np.ndarray[Any, Any], mask: np.ndarray[Any, Any], head: int = 64
) -> dict[str, np.ndarray[Any, Any]]:
    """softmax(scores / sqrt(head)) over the columns that count; the others are zero."""
    scaled = np.where(mask, scores.astype(np.float64) / np.sqrt(head), -np.inf)
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return {"weights": (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)}
