"""The action against NumPy; it needs no server and no GPU."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ACTION = Path(__file__).parent


@pytest.mark.parametrize(("m", "n", "k"), [(16, 16, 16), (1, 1, 1), (33, 50, 17)])
def test_against_numpy(tmp_path: Path, m: int, n: int, k: int) -> None:
    random = np.random.default_rng(m)
    arrays = {
        name: random.normal(size=shape).astype(np.float32)
        for name, shape in {"a": (m, k), "b": (k, n), "c": (m, n)}.items()
    }
    words = []
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        words += ["-p", f"{name}=@{tmp_path / name}.npy"]
    words += ["-p", "alpha=2", "-p", "beta=0.5", "-o", f"c={tmp_path / 'result.npy'}"]
    subprocess.run([sys.executable, "-m", "kaas_cli", "run", str(ACTION), *words], check=True)
    expected = 2 * arrays["a"] @ arrays["b"] + 0.5 * arrays["c"]
    np.testing.assert_allclose(np.load(tmp_path / "result.npy"), expected, rtol=1e-4, atol=1e-4)
