"""Links between processes: what goes in comes out, whatever the size, and nothing leaks when a peer misbehaves."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaas_pool.frames import INLINE_BYTES, AsyncLink, Link, LinkClosed

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=10).filter(lambda key: key not in ("v", "type")), JSON_VALUES, max_size=5))
def test_a_frame_arrives_as_it_was_sent(fields: dict[str, Any]) -> None:
    one, two = Link.pair()
    one.send({"type": "probe", **fields})
    frame, descriptors = two.receive()
    assert frame == {"v": 1, "type": "probe", **fields}
    assert descriptors == []
    one.close()
    two.close()


@pytest.mark.parametrize("size", [INLINE_BYTES - 100, INLINE_BYTES, INLINE_BYTES + 1, 3 << 20])
def test_large_frames_and_descriptors_travel_together(size: int) -> None:
    before = open_descriptors()
    one, two = Link.pair()
    reader, writer = os.pipe()
    one.send({"type": "probe", "data": "x" * size}, [writer])
    os.close(writer)
    frame, (received,) = two.receive()
    assert len(frame["data"]) == size
    os.write(received, b"through")
    assert os.read(reader, 7) == b"through"
    for descriptor in (reader, received):
        os.close(descriptor)
    one.close()
    two.close()
    assert open_descriptors() == before


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[]",
        b'{"v":2,"type":"probe"}',
        b'{"v":1}',
        b"[" * 60_000,
        json.dumps({"v": 1, "type": "large", "size": 10}).encode(),
    ],
)
def test_what_is_no_frame_closes_the_link_and_its_descriptors(body: bytes) -> None:
    one, two = Link.pair()
    reader, writer = os.pipe()
    before = open_descriptors()
    if b"large" in body:
        one.sock.send(body)
    else:
        socket.send_fds(one.sock, [body], [writer])
    with pytest.raises(LinkClosed):
        two.receive()
    assert open_descriptors() == before
    for descriptor in (reader, writer):
        os.close(descriptor)
    one.close()
    two.close()


def test_a_large_frame_must_be_as_large_as_it_says() -> None:
    one, two = Link.pair()
    memory = os.memfd_create("short")
    os.write(memory, b'{"v":1,"type":"x"}')
    socket.send_fds(one.sock, [json.dumps({"v": 1, "type": "large", "size": 1 << 20}).encode()], [memory])
    with pytest.raises(LinkClosed, match="impossible size"):
        two.receive()
    os.close(memory)
    one.close()
    two.close()


def test_end_of_file_and_a_gone_peer_are_told() -> None:
    one, two = Link.pair()
    one.close()
    with pytest.raises(LinkClosed):
        two.receive()
    with pytest.raises(LinkClosed):
        two.send({"type": "probe"})
    two.close()


@pytest.mark.parametrize("is_asked", [False, True], ids=["read", "unread"])
@pytest.mark.parametrize("queued", [0, 1, 400], ids=["quiet", "sending", "queueing"])
def test_the_last_words_of_a_peer_arrive_whatever_was_sent_to_it(is_asked: bool, queued: int) -> None:
    async def scenario() -> None:
        before = open_descriptors()
        one, two = Link.pair()
        got: list[int] = []
        closed = asyncio.Event()
        link = AsyncLink(one, lambda frame, _: got.append(frame["n"]), lambda _: closed.set())
        if is_asked:
            link.send({"type": "probe"})
        for n in range(40):
            two.send({"type": "probe", "n": n})
        if queued > 1:
            with Path("/dev/null").open() as file:
                for _ in range(queued):
                    link.send({"type": "probe", "fill": "x" * 10_000}, [file.fileno()])
        two.close()
        if queued:
            link.send({"type": "probe"})
        await closed.wait()
        assert got == list(range(40))
        assert open_descriptors() == before

    asyncio.run(scenario())


def test_an_async_link_queues_in_order_and_closes_once() -> None:
    async def scenario() -> None:
        before = open_descriptors()
        one, two = Link.pair()
        got: list[int] = []
        closed: list[str] = []
        all_there = asyncio.Event()
        both_closed = asyncio.Event()

        def on_frame(frame: dict[str, Any], descriptors: list[int]) -> None:
            got.append(frame["n"])
            for descriptor in descriptors:
                os.close(descriptor)
            if len(got) == 400:
                all_there.set()

        def on_close(reason: str) -> None:
            closed.append(reason)
            if len(closed) == 2:
                both_closed.set()

        sender = AsyncLink(one, on_frame, on_close)
        receiver = AsyncLink(two, on_frame, on_close)
        reader, writer = os.pipe()
        # 400 frames of 10 kB overfill any socket buffer, so most of them wait in the queue.
        for n in range(400):
            sender.send({"type": "probe", "n": n, "fill": "x" * 10_000}, [writer] if n % 50 == 0 else [])
        os.close(writer)
        await all_there.wait()
        assert got == list(range(400))
        sender.close()
        await both_closed.wait()
        assert receiver.closed
        sender.send({"type": "probe", "n": 0})
        os.close(reader)
        assert open_descriptors() == before

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["a folder", "a pipe"])
def test_a_large_frame_must_be_memory(kind: str) -> None:
    one, two = Link.pair()
    before = open_descriptors()
    ends = [os.open("/", os.O_RDONLY)] if kind == "a folder" else list(os.pipe())
    size = os.fstat(ends[0]).st_size or 1
    socket.send_fds(one.sock, [json.dumps({"v": 1, "type": "large", "size": size}).encode()], ends[:1])
    for end in ends:
        os.close(end)
    with pytest.raises(LinkClosed):
        two.receive()
    assert open_descriptors() == before
    one.close()
    two.close()


def test_a_frame_that_its_receiver_cannot_take_costs_its_own_link_only() -> None:
    async def scenario() -> None:
        one, two = Link.pair()
        closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def on_frame(frame: dict[str, Any], descriptors: list[int]) -> None:
            frame["inv"].lower()

        link = AsyncLink(two, on_frame, closed.set_result)
        one.send({"type": "done", "inv": [1]})
        assert "does not fit" in await closed
        assert link.closed
        one.close()

    asyncio.run(scenario())
