"""How a front gets the headers of safetensors files: under one version, once for many tensors, bounded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from front_process import SAXPY, FrontProcess, HttpClient, wait_until
from safetensors.numpy import save
from test_front_invocations import Gate

from kaas_pool.frames import Frame

#: So many tensors that their header is longer than what a look brings.
MANY = {f"layer.{index}": np.full(2, index, np.float32) for index in range(100)}

FILE = "s3://data/model.safetensors"

HUNDRED = "\n".join(
    [
        "kaas: 1",
        "name: hundred",
        "buffers:",
        *(f"  w{index}: {{io: in, dtype: float32, shape: [n]}}" for index in range(100)),
        "  z: {io: out, dtype: float32, shape: [n]}",
        "graph:",
        *(f"  - copy: {{from: w{index}, to: z}}" for index in range(100)),
    ]
)


@pytest.fixture
def front(tmp_path: Path) -> Iterator[FrontProcess]:
    """A front with a file of many tensors in its store."""
    with FrontProcess(tmp_path / "state") as running:
        put(running, MANY)
        yield running


def put(front: FrontProcess, tensors: dict[str, npt.NDArray[Any]]) -> str:
    """Store a file; its etag."""
    return front.mover.put("data", "model.safetensors", save(tensors))


def arguments(x: str, **more: Any) -> dict[str, Any]:
    """A call that reads one tensor as x."""
    return {"x": f"{FILE}#{x}", "y": [1.0, 1.0], "z": "inline", **more}


def headers(front: FrontProcess) -> list[Frame]:
    """The loads of headers so far: those of an object's beginning."""
    return [frame["object"] for frame in front.mover.of("load") if frame["object"]["offset"] == 0]


def invoke(client: HttpClient, bundle: str, given: dict[str, Any]) -> str:
    """Invoke; "done" or the code of the error."""
    reply = client.invoke(bundle, given)
    return "done" if reply.body.get("state") == "done" else reply.code


def test_a_hundred_tensors_of_a_file_cost_one_header(front: FrontProcess) -> None:
    client = front.client()
    hundred = client.upload(HUNDRED)
    given = {f"w{index}": f"{FILE}#layer.{index}" for index in range(100)}
    for _ in range(2):
        assert invoke(client, hundred, {**given, "z": "inline"}) == "done"
    [header] = headers(front)
    data = front.mover.objects["data", "model.safetensors"].data
    assert header["size"] == 8 + int.from_bytes(data[:8], "little") > 1024
    assert header["etag"] == front.mover.objects["data", "model.safetensors"].etag
    ranges = {(one["object"]["offset"], one["object"]["size"]) for one in front.mover.of("load")} - {
        (0, header["size"])
    }
    assert len(ranges) == 100
    assert all(size == 8 and offset >= header["size"] for offset, size in ranges)
    assert len(front.mover.of("stat")) == 2
    front.mover.wait_until(lambda: not front.mover.leased)


def test_callers_at_one_moment_share_a_header(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    held: list[tuple[Any, Frame]] = []

    def hold(peer: Any, frame: Frame) -> bool:
        if frame["type"] == "load":
            held.append((peer, frame))
        return bool(frame["type"] == "load")

    front.mover.script = hold
    pending = [client.invoking(bundle, arguments(f"layer.{index}")) for index in range(4)]
    wait_until(lambda: len(front.mover.of("stat")) == 4 and held)
    front.mover.script = lambda _, __: False
    for peer, frame in held:
        peer.serve(frame)
    assert [one.reply().body["state"] for one in pending] == ["done"] * 4
    assert len(headers(front)) == 1


def test_what_the_look_brings_is_enough_for_a_short_header(front: FrontProcess) -> None:
    put(front, {"x": np.ones(2, np.float32)})
    client = front.client()
    assert invoke(client, client.upload(SAXPY), arguments("x")) == "done"
    assert headers(front) == []


def test_a_new_version_has_a_new_header(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    assert invoke(client, bundle, arguments("layer.1")) == "done"
    put(front, {**MANY, "layer.1": np.ones(3, np.float32)})
    assert invoke(client, bundle, arguments("layer.1")) == "shape_mismatch"
    assert invoke(client, bundle, arguments("layer.1", y=[1.0] * 3)) == "done"
    assert len(headers(front)) == 2


class Replaces:
    """Puts another version when the first header is loaded."""

    def __init__(self, front: FrontProcess, tensors: dict[str, npt.NDArray[Any]] | None, times: int = 1) -> None:
        self._front, self._tensors, self._left = front, tensors, times
        front.mover.script = self._act

    def _act(self, peer: Any, frame: Frame) -> bool:
        if frame["type"] == "load" and frame["object"]["offset"] == 0 and self._left:
            self._left -= 1
            if self._tensors is None:
                self._front.mover.objects.pop(("data", "model.safetensors"))
            else:
                put(self._front, self._tensors)
        return False


@pytest.mark.parametrize("freshness", ["always", "max_age=100", "pinned"])
def test_an_object_that_changes_before_its_header_came_is_looked_at_again(front: FrontProcess, freshness: str) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    Replaces(front, {**MANY, "layer.1": np.full(2, 9, np.float32)})
    expected = "object_changed" if freshness == "pinned" else "done"
    assert invoke(client, bundle, arguments("layer.1", freshness=freshness)) == expected
    assert len(front.mover.of("stat")) == 2
    etag = front.mover.objects["data", "model.safetensors"].etag
    assert (headers(front)[-1]["etag"] == etag) == (expected == "done")


def test_that_is_done_once(front: FrontProcess) -> None:
    client = front.client()
    Replaces(front, MANY, times=100)
    reply = client.invoke(client.upload(SAXPY), arguments("layer.1"))
    assert (reply.status, reply.code) == (409, "object_changed")
    assert reply.body["error"]["where"] == "arguments.x"
    assert len(headers(front)) == 2


def test_an_object_that_goes_before_its_header_came(front: FrontProcess) -> None:
    client = front.client()
    Replaces(front, None)
    reply = client.invoke(client.upload(SAXPY), arguments("layer.1"))
    assert (reply.status, reply.code) == (404, "object_not_found")


def test_a_failed_header_is_asked_for_again_by_the_next_call(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    front.mover.script = lambda peer, frame: frame["type"] == "load" and peer.refuse(frame, "store_unreachable")
    assert invoke(client, bundle, arguments("layer.1")) == "store_unreachable"
    front.mover.script = lambda _, __: False
    assert invoke(client, bundle, arguments("layer.1")) == "done"


def test_a_header_that_comes_too_late_is_the_budgets_end(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    held: list[tuple[Any, Frame]] = []

    def hold(peer: Any, frame: Frame) -> bool:
        if frame["type"] == "load":
            held.append((peer, frame))
        return bool(frame["type"] == "load")

    front.mover.script = hold
    reply = client.invoke(bundle, arguments("layer.1"), budget_ms=200)
    assert (reply.status, reply.code) == (422, "budget_exceeded")
    front.mover.script = lambda _, __: False
    for peer, frame in held:
        peer.serve(frame)
    front.mover.wait_until(lambda: not front.mover.leased)
    # It came all the same, and serves the next.
    wait_until(lambda: invoke(client, bundle, arguments("layer.1")) == "done")
    assert len(headers(front)) == 1


def test_a_pinned_tensor_costs_nothing_the_second_time(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    given = arguments("layer.1", freshness="pinned")
    for _ in range(3):
        assert invoke(client, bundle, given) == "done"
    assert (len(headers(front)), len(front.mover.of("stat"))) == (1, 1)
    assert client.post("/v1/cache/refresh", {"reference": FILE}).body == {"refreshed": 1}
    assert invoke(client, bundle, given) == "done"
    assert (len(headers(front)), len(front.mover.of("stat"))) == (1, 2)
    front.kill()
    front.start()
    assert invoke(front.client(), bundle, given) == "done"
    assert len(headers(front)) == 2


def test_a_promised_invocation_finds_its_tensor_after_a_restart(front: FrontProcess) -> None:
    client = front.client()
    bundle = client.upload(SAXPY)
    Gate(front)
    assert client.invoke(bundle, arguments("layer.7"), id="promised", wait_ms=0).status == 202
    front.kill()
    front.start()
    client = front.client()
    wait_until(lambda: client.get("/v1/invocations/promised").body["state"] == "done")
    assert len({frame["etag"] for frame in headers(front)}) == 1


def lying(length: int, header: bytes, data: bytes = b"") -> bytes:
    """A file with this length before its header."""
    return length.to_bytes(8, "little") + header + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        lying(1 << 62, b"{}"),
        lying(17 << 20, b"{}"),
        lying(100_000, b"{" + b" " * 2000),
        lying(4000, b"\xff" * 4000),
        lying(4000, b"[" * 4000),
        lying(4000, json.dumps({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode().ljust(4000)),
    ],
)
def test_files_that_lie(front: FrontProcess, data: bytes) -> None:
    front.mover.put("data", "model.safetensors", data)
    client = front.client()
    reply = client.invoke(client.upload(SAXPY), arguments("x"))
    assert (reply.status, reply.code) == (422, "format_invalid"), reply
    assert len(headers(front)) <= 1


def test_the_largest_header_that_is_read(front: FrontProcess) -> None:
    tensor = {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    header = json.dumps(tensor).encode().ljust(16 << 20)
    front.mover.put("data", "model.safetensors", lying(len(header), header, np.ones(2, np.float32).tobytes()))
    client = front.client()
    bundle = client.upload(SAXPY)
    assert invoke(client, bundle, arguments("x")) == "done"
    assert invoke(client, bundle, arguments("y")) == "object_not_found"
    assert headers(front)[0]["size"] == 8 + (16 << 20)
