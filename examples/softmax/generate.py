"""Write the inputs of the softmax example as .npy files: `python generate.py [DIRECTORY]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

PARAMS: dict[str, Any] = {"head": 128}


def inputs(rows: int = 12, columns: int = 15_000, seed: int = 7) -> dict[str, np.ndarray[Any, Any]]:
    """scores: float16[rows, columns] and mask: bool[columns], false for the last fifth, as of a padded sequence."""
    random = np.random.default_rng(seed)
    scores = random.normal(0, 30, (rows, columns)).astype(np.float16)
    return {"scores": scores, "mask": np.arange(columns) < columns * 4 // 5}


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in inputs().items():
        np.save(directory / f"{name}.npy", array)
        print(f"{directory / name}.npy  {array.dtype}{list(array.shape)}")
