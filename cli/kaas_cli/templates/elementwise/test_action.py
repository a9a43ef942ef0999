"""The action against NumPy; it needs no server and no GPU."""

import subprocess
import sys
from pathlib import Path

import numpy as np

ACTION = Path(__file__).parent


def test_against_numpy(tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 1000, dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    arguments = ["-p", f"x=@{tmp_path / 'x.npy'}", "-p", "scale=3", "-o", f"z={tmp_path / 'z.npy'}"]
    subprocess.run([sys.executable, "-m", "kaas_cli", "run", str(ACTION), *arguments], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), 3 * x, rtol=1e-6)
