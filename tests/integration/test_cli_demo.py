"""`kaas demo`, whole and interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from kaas_command import clean_environment, command, kaas

pytestmark = pytest.mark.slow


def processes_that_mention(text: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if text.encode() in line:
                found.append(int(entry.name))
    return found


def test_the_whole(tmp_path: Path) -> None:
    done = kaas("demo", environment={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.endswith("yes")}
    assert set(rows) == {"saxpy", "blur", "jacobi", "sgemm"}
    for name, hits in {"saxpy": "2 of 2", "blur": "1 of 1", "jacobi": "2 of 2", "sgemm": "2 of 2"}.items():
        assert hits in rows[name]
    assert list(tmp_path.iterdir()) == []
    assert processes_that_mention(str(tmp_path)) == []


@pytest.mark.parametrize("line", ["starting", "saxpy"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path: Path, line: str, number: signal.Signals) -> None:
    demo = subprocess.Popen(
        command("demo"),
        env=clean_environment({"TMPDIR": str(tmp_path)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert demo.stdout is not None
    assert any(said.startswith(line) for said in demo.stdout)
    # As a terminal does: everyone in the foreground gets it.
    os.killpg(demo.pid, number)
    _, errors = demo.communicate(timeout=100)
    assert demo.returncode == 130, errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []
    assert processes_that_mention(str(tmp_path)) == []
