"""Write the inputs of the fft example as .npy files, and raw: `python generate.py [DIRECTORY]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

PARAMS: dict[str, Any] = {"size": 2048}


def inputs(frames: int = 20, size: int = 2048, seed: int = 9) -> dict[str, np.ndarray[Any, Any]]:
    """samples: int16[frames, size], two tones of which one rises, and noise."""
    seconds = np.arange(frames * size) / 44100
    tones = np.sin(2 * np.pi * 440 * seconds) + np.sin(2 * np.pi * (1000 + 2000 * seconds) * seconds)
    noise = np.random.default_rng(seed).normal(0, 0.1, len(seconds))
    return {"samples": (10_000 * (tones + noise)).astype(np.int16).reshape(frames, size)}


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in inputs().items():
        np.save(directory / f"{name}.npy", array)
        print(f"{directory / name}.npy  {array.dtype}{list(array.shape)}")
        array.tofile(directory / f"{name}.pcm")
