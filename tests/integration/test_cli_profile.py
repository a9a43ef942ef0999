"""`kaas run --profile` and `--trace`: real kernels, their times, and a file that viewers can read."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from executor_actions import MANIFESTS, SOURCE
from kaas_command import kaas

from kaas.archive import write_archive

#: The object form of the trace event format, as far as it is used.
TRACE = {
    "type": "object",
    "required": ["traceEvents", "displayTimeUnit"],
    "properties": {
        "displayTimeUnit": {"enum": ["ms", "ns"]},
        "otherData": {"type": "object"},
        "traceEvents": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "ph", "pid", "tid", "args"],
                "properties": {
                    "name": {"type": "string"},
                    "pid": {"type": "integer"},
                    "tid": {"type": "integer"},
                    "args": {"type": "object"},
                },
                "oneOf": [
                    {
                        "required": ["ts", "dur", "cat"],
                        "properties": {
                            "ph": {"const": "X"},
                            "ts": {"type": "number", "minimum": 0},
                            "dur": {"type": "number", "minimum": 0},
                        },
                    },
                    {
                        "properties": {
                            "ph": {"const": "M"},
                            "name": {"enum": ["process_name", "thread_name", "thread_sort_index"]},
                        }
                    },
                ],
            },
        },
    },
}


def pack(folder: Path, name: str) -> None:
    """One of the executor tests' actions as `a.zip`."""
    manifest = f"kaas: 1\nname: '{name}'\n{MANIFESTS[name]}"
    (folder / "a.zip").write_bytes(write_archive({"kaas.yaml": manifest.encode(), "all.cu": SOURCE.encode()}))


def run(folder: Path, name: str, *words: str) -> tuple[list[str], dict[str, Any]]:
    """Run an action; the lines on stdout and the trace, which is a valid one."""
    pack(folder, name)
    done = kaas("run", "a.zip", *words, "--device", "emulated", "--trace", "t.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    trace = json.loads((folder / "t.json").read_text())
    jsonschema.validate(trace, TRACE)
    for track in tracks(trace).values():
        for one, following in itertools.pairwise(track):
            assert one["ts"] + one["dur"] <= following["ts"], (one, following)
    return done.stdout.splitlines(), trace


def tracks(trace: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The spans of each named track, in order of time."""
    events = trace["traceEvents"]
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    spans = sorted((event for event in events if event["ph"] == "X"), key=lambda event: event["ts"])
    return {name: [span for span in spans if span["tid"] == thread] for thread, name in names.items()}


def columns(lines: list[str]) -> dict[tuple[str, str], list[str]]:
    """The rows of the table by operation and its object: where, times, total, mean, bytes."""
    first = next(at for at, line in enumerate(lines) if line.startswith("operation"))
    rows: dict[tuple[str, str], list[str]] = {}
    for line in itertools.takewhile(bool, lines[first + 1 :]):
        kind, name, *rest = [cell.strip() for cell in line.split("  ") if cell]
        rows[kind, name] = rest
    return rows


def test_a_chain_is_traced_launch_by_launch(tmp_path: Path) -> None:
    lines, trace = run(tmp_path, "settle", "-p", "x=[100, 100]", "--profile")
    assert lines[:2] == ["z  float32[2]  8 B", "  [0.78125 0.78125]"]
    rows = columns(lines)
    assert {key: (row[-4], row[-1]) for key, row in rows.items()} == {
        ("copy, clear", "before the first step"): ("1", "16 B"),
        ("kernel", "scale"): ("7", "24 B"),
        ("until", "z"): ("7", "4 B"),
        ("copy", "x to z"): ("1", "16 B"),
    }
    assert rows["kernel", "scale"][0].startswith("kaas.yaml:")
    assert "GB/s" not in "\n".join(lines)
    assert "no GPU's" in lines[-1]
    found = tracks(trace)
    assert list(found) == ["phases", "stream 0"]
    first, *rounds, last = [span["name"] for span in found["stream 0"]]
    assert (first, last) == ("copy, clear before the first step", "copy x to z")
    assert rounds == ["scale", "until z"] * 7
    assert found["stream 0"][1]["args"]["grid"] == [1, 1, 1]
    assert found["stream 0"][1]["args"]["block"] == [128, 1, 1]
    assert [span["name"] for span in found["phases"]] == ["compile", "load", "compute", "store"]
    compute = found["phases"][2]
    for span in found["stream 0"]:
        # The phase's length and the spans' are counted in milliseconds of single precision.
        assert compute["ts"] <= span["ts"]
        assert span["ts"] + span["dur"] <= compute["ts"] + compute["dur"] + 1


def test_branches_keep_their_streams_and_their_result(tmp_path: Path) -> None:
    x = np.arange(1000, dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    words = ("-p", "x=@x.npy", "-p", "rounds=1", "-o", "z=z.npy")
    _, trace = run(tmp_path, "branches", *words)
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), 5 * x + 1)
    streams = {name: spans for name, spans in tracks(trace).items() if name != "phases"}
    assert len(streams) == 4
    launches = [span for spans in streams.values() for span in spans if span["cat"] == "kernel"]
    # Each step once, and each after those whose results it reads.
    assert len({span["args"]["where"] for span in launches}) == len(launches) == 7
    ends = {span["args"]["where"].rpartition(".")[2]: span["ts"] + span["dur"] for span in launches}
    begins = {span["args"]["where"].rpartition(".")[2]: span["ts"] for span in launches}
    assert begins["steps[5]"] >= max(ends["steps[0]"], ends["steps[1]"])
    assert begins["steps[6]"] >= max(ends["steps[2]"], ends["steps[3]"], ends["steps[5]"])


def test_a_profile_alone_needs_no_trace_and_changes_nothing(tmp_path: Path) -> None:
    pack(tmp_path, "loop")
    words = ("run", "a.zip", "-p", "x=[1, 2, 3]", "-p", "rounds=3001", "--device", "emulated")
    plain, profiled = kaas(*words, cwd=tmp_path), kaas(*words, "--profile", cwd=tmp_path)
    assert plain.returncode == profiled.returncode == 0
    assert profiled.stdout.startswith(plain.stdout)
    assert columns(profiled.stdout.splitlines())["kernel", "smooth"][-4] == "3001"


@pytest.mark.slow
def test_a_trace_is_bounded_and_tells(tmp_path: Path) -> None:
    pack(tmp_path, "loop")
    words = ("run", "a.zip", "-p", "x=[1]", "-p", "rounds=100007", "--device", "emulated", "--trace", "t.json")
    done = kaas(*words, cwd=tmp_path)
    trace = json.loads((tmp_path / "t.json").read_text())
    assert len(tracks(trace)["stream 0"]) == 100_000
    assert trace["otherData"]["operations left out"] == 7
    assert "t.json has the first 100000 operations; 7 more are left out" in done.stderr


def test_a_trace_that_cannot_be_written(tmp_path: Path) -> None:
    pack(tmp_path, "null")
    words = ("run", "a.zip", "-p", "x=[1]", "--device", "emulated", "--trace", "none/t.json")
    done = kaas(*words, cwd=tmp_path)
    assert done.returncode == 1
    folder = tmp_path / "none"
    assert done.stderr.startswith(f"error: there is no folder {folder}\nwhere: --trace\n")
