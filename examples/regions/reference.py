"""What the regions example must compute, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Labels are exact.
RTOL, ATOL = 0, 0


def expected(image: np.ndarray[Any, Any], threshold: int = 128) -> dict[str, np.ndarray[Any, Any]]:
    """labels: int32[height, width], of each bright pixel 1 + the place, row by row, of the first of its region."""
    bright = image >= threshold
    labels = np.zeros(image.shape, np.int32)
    for y, x in np.argwhere(bright).tolist():
        if labels[y, x] == 0:
            _fill(bright, labels, y, x)
    return {"labels": labels}


def _fill(bright: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], y: int, x: int) -> None:
    """Give the first pixel's number to the whole region, corners included."""
    number = labels[y, x] = y * bright.shape[1] + x + 1
    ahead = [(y, x)]
    while ahead:
        y, x = ahead.pop()
        top, left = max(y - 1, 0), max(x - 1, 0)
        around = np.s_[top : y + 2, left : x + 2]
        found = bright[around] & (labels[around] == 0)
        labels[around][found] = number
        ahead += [(top + v, left + u) for v, u in np.argwhere(found).tolist()]
