"""Coverage-guided runs of every reader of foreign bytes; see guided.py."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from guided_seeds import SEEDS
from hunt import CASES, SEED, TALLY

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not there: it needs CPython 3.11 to 3.13"
)

#: Part of the long run's cases, by target.
_SHARES = dict.fromkeys(SEEDS, 0.1) | {"manifest": 0.04, "bundle": 0.03, "archive": 0.03}


@pytest.mark.parametrize("target", sorted(SEEDS) if CASES else ["any"])
def test_guided_by_coverage(target: str, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    runs = max(1, round(_SHARES[target] * CASES)) if CASES else 2000
    # A single input over 100 s or a process over 2 GiB is a finding.
    options = [f"-runs={runs}", f"-seed={SEED}", "-timeout=100", "-rss_limit_mb=2048", f"-artifact_prefix={tmp_path}/"]
    command = [sys.executable, str(Path(__file__).with_name("guided.py")), target, str(seeds), *options]
    done = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path)
    words = done.stderr.decode("utf-8", "replace")
    assert done.returncode == 0, words[-6000:]
    found = re.search(r"Done (\d+) runs", words)
    assert found, words[-2000:]
    TALLY.setdefault(f"guided {target}", Counter())["no finding"] += int(found[1])
