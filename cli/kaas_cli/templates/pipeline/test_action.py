"""The action against NumPy; it needs no server and no GPU."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ACTION = Path(__file__).parent


def edges_of(image: np.ndarray) -> np.ndarray:
    grey = np.pad(image @ np.array([0.299, 0.587, 0.114]), 1, mode="edge")
    across, down = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
    height, width = image.shape[:2]
    for weight, at in ((1, 0), (2, 1), (1, 2)):
        across += weight * (grey[at : at + height, 2:] - grey[at : at + height, :-2])
        down += weight * (grey[2:, at : at + width] - grey[:-2, at : at + width])
    strength = np.hypot(across, down)
    return 255 * strength / strength.max() if strength.max() > 0 else strength


@pytest.mark.parametrize("shape", [(3, 5), (20, 33)])
def test_against_numpy(tmp_path: Path, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, size=(*shape, 3), dtype=np.uint8)
    np.save(tmp_path / "image.npy", image)
    words = ["-p", f"image=@{tmp_path / 'image.npy'}", "-o", f"edges={tmp_path / 'edges.npy'}"]
    subprocess.run([sys.executable, "-m", "kaas_cli", "run", str(ACTION), *words], check=True)
    edges = np.load(tmp_path / "edges.npy")
    assert edges.dtype == np.uint8
    # Half of one step of a byte, and what the order of additions in single precision makes of it.
    np.testing.assert_allclose(edges, edges_of(image), atol=0.51)
