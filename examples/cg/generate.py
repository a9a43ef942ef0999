"""Write the inputs of the cg example as .npy files: `python generate.py [DIRECTORY]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

PARAMS: dict[str, Any] = {"tolerance": 1e-9}


def inputs(side: int = 24, seed: int = 8) -> dict[str, np.ndarray[Any, Any]]:
    """The five-point stencil on side * side points, as a matrix in compressed rows, and b: float64[side * side]."""
    n = side * side
    y, x = np.divmod(np.arange(n), side)
    neighbours = [(0, 0, 4.0), (0, -1, -1.0), (0, 1, -1.0), (-1, 0, -1.0), (1, 0, -1.0)]
    inside = np.stack(
        [(y + dy >= 0) & (y + dy < side) & (x + dx >= 0) & (x + dx < side) for dy, dx, _ in neighbours], 1
    )
    columns = np.stack([(y + dy) * side + x + dx for dy, dx, _ in neighbours], 1)
    values = np.tile([value for *_, value in neighbours], (n, 1))
    return {
        "values": values[inside],
        "columns": columns[inside].astype(np.int32),
        "rows": np.concatenate([[0], np.cumsum(inside.sum(axis=1))]).astype(np.int32),
        "b": np.random.default_rng(seed).random(n),
    }


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in inputs().items():
        np.save(directory / f"{name}.npy", array)
        print(f"{directory / name}.npy  {array.dtype}{list(array.shape)}")
