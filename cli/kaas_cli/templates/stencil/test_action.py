"""The action against NumPy; it needs no server and no GPU."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ACTION = Path(__file__).parent


def spread(plate: np.ndarray, rounds: int, rate: float) -> np.ndarray:
    heat = plate.astype(np.float64)
    for _ in range(rounds):
        around = heat[1:-1, :-2] + heat[1:-1, 2:] + heat[:-2, 1:-1] + heat[2:, 1:-1]
        heat[1:-1, 1:-1] += rate * (around - 4 * heat[1:-1, 1:-1])
    return heat


@pytest.mark.parametrize("rounds", [0, 1, 20])
def test_against_numpy(tmp_path: Path, rounds: int) -> None:
    plate = np.random.default_rng(1).uniform(0, 100, size=(37, 70)).astype(np.float32)
    np.save(tmp_path / "plate.npy", plate)
    words = ["-p", f"plate=@{tmp_path / 'plate.npy'}", "-p", f"rounds={rounds}", "-o", f"heat={tmp_path / 'heat.npy'}"]
    subprocess.run([sys.executable, "-m", "kaas_cli", "run", str(ACTION), *words], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "heat.npy"), spread(plate, rounds, 0.2), rtol=1e-4)
