"""`kaas demo`, whole and interrupted."""

from __future__ import annotations

import os
import re
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
    assert set(rows) == {"saxpy", "jacobi", "sgemm"}
    assert all("2 of 2 inputs" in row for row in rows.values())
    steps = {
        line.split()[0]: line for line in done.stdout.splitlines() if re.search(" (kaas:1|python:3) +[0-9]+ ms", line)
    }
    assert list(steps) == ["cells/prepare", "blur", "regions", "cells/summarise"]
    assert re.search("0 on the device, 1 loaded .* 1 on the device, 0 loaded", steps["blur"])
    assert steps["regions"].count("1 on the device, 0 loaded") == 2
    assert re.search(r"^(\d+) cells found, \1 drawn", done.stdout, re.MULTILINE)
    assert "wsk action update count-cells --sequence cells/prepare,blur,regions,cells/summarise" in done.stdout
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
