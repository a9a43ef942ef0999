"""The action against NumPy; it needs no server and no GPU."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ACTION = Path(__file__).parent


@pytest.mark.parametrize("n", [1, 1000, 100_000])
def test_against_numpy(tmp_path: Path, n: int) -> None:
    x = np.random.default_rng(n).normal(size=n).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    outputs = ["-o", f"total={tmp_path / 'total.npy'}", "-o", f"greatest={tmp_path / 'greatest.npy'}"]
    command = [sys.executable, "-m", "kaas_cli", "run", str(ACTION), "-p", f"x=@{tmp_path / 'x.npy'}", *outputs]
    subprocess.run(command, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "total.npy"), x.sum(dtype=np.float64), rtol=1e-12, atol=1e-9)
    assert np.load(tmp_path / "greatest.npy") == x.max()
