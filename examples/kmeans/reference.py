"""What the kmeans example must compute, in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

#: Whole numbers throughout; only the last division is not.
RTOL, ATOL = 1e-12, 0

STEPS = 64

Array = np.ndarray[Any, Any]


def assign(pixels: Array, centres: Array) -> tuple[Array, int]:
    """The nearest centre of every pixel, the first of several, and the sum of the squares of all distances."""
    squares = ((STEPS * pixels[:, None] - centres[None]) ** 2).sum(axis=2)
    return squares.argmin(axis=1), int(squares.min(axis=1).sum())


def settle(pixels: Array, centres: Array, rounds: int) -> tuple[int, Array]:
    """The sum of squares at the last look, and the centres after it."""
    total = 0
    for _ in range(rounds):
        labels, total = assign(pixels, centres)
        before = centres.copy()
        for colour in set(labels.tolist()):
            mine = pixels[labels == colour]
            centres[colour] = (STEPS * mine.sum(axis=0) + len(mine) // 2) // len(mine)
        if (before == centres).all():
            break
    return total, centres


def expected(image: Array, rounds: int = 100) -> dict[str, Array]:
    """The palette of the best start, what each pixel becomes, how many become the same, and the mean square error."""
    pixels = image.reshape(-1, 3).astype(np.int64)
    palettes = STEPS * np.load(Path(__file__).parent / "palettes.npy").astype(np.int64)
    _, best = min((settle(pixels, centres, rounds) for centres in palettes), key=lambda one: one[0])
    labels, least = assign(pixels, best)
    return {
        "palette": ((best + STEPS // 2) // STEPS).astype(np.uint8),
        "labels": labels.astype(np.uint8).reshape(image.shape[:2]),
        "sizes": np.bincount(labels, minlength=len(best)).astype(np.uint32),
        "distortion": np.array(least / STEPS**2 / len(pixels)),
    }
