"""Frames: whatever a process that runs other people's code sends costs it its own link, and nobody else anything."""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from front_peers import ScriptedExecutor
from front_process import SAXPY, FrontProcess
from hunt import hunt
from hypothesis import strategies as st
from made_frames import Lie, RawFrame, lies, raw_frames
from properties import VALUE

from kaas.errors import ERRORS
from kaas_pool.frames import Frame, Link, LinkClosed

_GOOD: dict[str, Any] = {"x": [1.0, 2.0], "y": [3.0, 4.0], "z": "inline"}
_CUT = ["need", "copied", "done", "failed"]

#: What the front once took for a defect of its own, or passed on.
_KNOWN = [
    [Lie("need", "keys", [""])],
    [Lie("need", "keys", [None])],
    [Lie("done", "stats", {"gpu_ms": math.nan})],
    [Lie("done", "stats", {"compute_ms": []})],
    [Lie("done", "stats", "x")],
    [Lie("done", "inline", {})],
    [Lie("done", "inline", {"z": "AAAA"})],
    [Lie("done", "inline", {"z": "!"})],
    [Lie("failed", "error", {"code": [], "message": "m"})],
    [Lie("failed", "error", {"code": "kernel_fault", "message": "m", "hint": {}})],
    [Lie("usage", "added", [["a", "b"]])],
    [Lie("hello", "memory_bytes", 1)],
]


def _open(kind: str, memory: bytes) -> list[int]:
    """A descriptor of a kind, and its other end if it has one."""
    if kind == "folder":
        return [os.open("/", os.O_RDONLY)]
    if kind == "pipe":
        return list(os.pipe())
    made = os.memfd_create("fuzz")
    os.write(made, memory)
    return [made]


def check_receive(case: RawFrame) -> str:
    """A message is a frame with its descriptors, or the end of the link; no descriptor is left behind."""
    one, two = Link.pair()
    before = len(list(Path("/proc/self/fd").iterdir()))
    opened = [_open(kind, case.memory) for kind in case.descriptors]
    socket.send_fds(one.sock, [case.body], [ends[0] for ends in opened])
    for end in [end for ends in opened for end in ends]:
        os.close(end)
    outcome = "closed"
    try:
        frame, descriptors = two.receive()
        assert isinstance(frame["type"], str)
        for descriptor in descriptors:
            os.close(descriptor)
        outcome = VALUE
    except LinkClosed:
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    one.close()
    two.close()
    return outcome


def test_received() -> None:
    hunt("frame", raw_frames(), check_receive, short=150, share=0.015, outcomes=[VALUE, "closed"])


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    """A front whose executors say what a test wants."""
    with FrontProcess(tmp_path_factory.mktemp("front") / "state") as running:
        yield running
        assert running.process is not None
        assert running.process.poll() is None


class _Liar:
    """The script of an executor that tells lies at its next run, or at every one, and then does its work."""

    def __init__(self, told: list[Lie], *, always: bool) -> None:
        self.told = told
        self.always = always

    def __call__(self, executor: ScriptedExecutor, frame: Frame) -> bool:
        if frame["type"] != "run" or executor.domain != "alice":
            return False
        for lie in self.told:
            executor.send(self._frame(executor, frame, lie))
        if not self.always:
            self.told = []
        return False

    def _frame(self, executor: ScriptedExecutor, run: Frame, lie: Lie) -> Frame:
        frame: dict[str, Any] = {"type": lie.kind}
        if lie.kind in _CUT:
            frame["inv"] = run["inv"]
        if lie.kind == "hello":
            frame |= {"epoch": 1, "pid": 1, "name": "liar", "memory_bytes": 1 << 30, "compute_capability": [9, 0]}
        rest: dict[str, dict[str, Any]] = {
            "done": {"stats": {}, "inline": {"z": "BwcHBwcHBwc="}},
            "failed": {"error": {"code": "kernel_fault", "message": "lied"}},
            "need": {"keys": [one["key"] for one in run["inputs"]]},
            "copied": {"key": run["inputs"][0]["key"]},
            "usage": {"bytes": 0, "pinned": 0},
        }
        return {**frame, **rest.get(lie.kind, {}), lie.field: lie.value}


def test_an_executor_that_lies(front: FrontProcess) -> None:
    alice, bob, operator = front.client(), front.client("bob-token"), front.client("admin-token")
    bundle = alice.upload(SAXPY)
    bob.upload(SAXPY)

    def check(case: tuple[list[Lie], bool]) -> str:
        told, always = case
        front.supervisor.executor_script = _Liar(told, always=always)
        reply = alice.invoke(bundle, _GOOD, budget_ms=20_000)
        assert reply.status == 200, reply
        assert len(json.dumps(reply.body, allow_nan=False)) < 100_000
        good = bob.invoke(bundle, _GOOD)
        assert (good.status, good.body["state"]) == (200, "done"), good
        for path in ("/v1/devices", "/v1/cache", "/v1/queues", "/v1/tenants", "/metrics"):
            assert operator.get(path).status == 200, path
        if reply.body["state"] == "done":
            return VALUE
        code = str(reply.body["error"]["code"])
        # What the executor itself may say is `failed`; the front's own defect is `internal`.
        assert code in ERRORS
        assert code != "budget_exceeded"
        assert code != "internal" or any(lie.kind == "failed" for lie in told), reply
        return code

    hunt(
        "executor's frames",
        st.tuples(lies(), st.booleans()),
        check,
        short=20,
        share=0.005,
        known=[(told, always) for told in _KNOWN for always in (False, True)],
        # A lie that ends the link is made good by the next attempt, unless that one lies, too.
        outcomes=[VALUE, "executor_lost"],
    )
