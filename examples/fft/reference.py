"""What the fft example must compute, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

#: float32 against float64; peaks reach hundreds, and every stage rounds.
RTOL, ATOL = 1e-4, 1e-3


def expected(samples: np.ndarray[Any, Any], size: int = 1024) -> dict[str, np.ndarray[Any, Any]]:
    """The discrete Fourier transform of every frame under von Hann's window, samples as fractions of full scale."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    return {"spectrum": np.fft.fft(window * samples / 32768).astype(np.complex64)}
