"""The frames between the local OpenWhisk and a CPU action's process: each reply is that of its request, or none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from kaas_local.openwhisk.containers.answers import Reply
from kaas_local.openwhisk.containers.channels import FrameChannel, GoneError

HEADER = struct.Struct(">IQQ")

PATIENCE_SECONDS = 60


class Action:
    """The other end, as an action's process has it."""

    def __init__(self, channel: FrameChannel) -> None:
        self._socket = socket.socket(fileno=channel.descriptor)
        self._socket.setblocking(False)

    async def request(self) -> tuple[int, int, object]:
        """The next one: its number, its name, its body."""
        number, name, length = HEADER.unpack(await self._receive(HEADER.size))
        return number, name, json.loads(await self._receive(length))

    async def write(self, data: bytes) -> None:
        """Send something."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    def close(self) -> None:
        """End."""
        self._socket.close()

    async def _receive(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            data += await asyncio.get_running_loop().sock_recv(self._socket, length - len(data))
        return data


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, PATIENCE_SECONDS))


def frame(name: int, body: bytes) -> bytes:
    return HEADER.pack(200, name, len(body)) + body


@contextlib.asynccontextmanager
async def both() -> AsyncIterator[tuple[FrameChannel, Action]]:
    channel = FrameChannel()
    action = Action(channel)
    try:
        yield channel, action
    finally:
        action.close()
        channel.close()
        await asyncio.sleep(0)


async def answered(channel: FrameChannel, action: Action, body: bytes, more: bytes = b"", stray: int = 0) -> Reply:
    """A request and what is answered, with more behind it; `stray` makes its name a wrong one."""
    asked = asyncio.create_task(channel.post("/run", {"value": 1}))
    number, name, request = await action.request()
    assert (number, request) == (1, {"value": 1})
    await action.write(frame(name ^ stray, body) + more)
    return await asked


def test_replies_follow_requests() -> None:
    async def go() -> None:
        async with both() as (channel, action):
            for body in (b"{}", b'{"a": 1}', b""):
                assert await answered(channel, action, body) == Reply(200, body, len(body))
                assert not channel.is_broken

    run(go())


def test_the_reply_to_another_request_is_none() -> None:
    async def go() -> None:
        async with both() as (channel, action):
            await answered(channel, action, b"{}")
            with pytest.raises(GoneError):
                await answered(channel, action, b"{}", stray=1)

    run(go())


@pytest.mark.parametrize("more", [b"\0", frame(7, b"{}")])
def test_what_comes_unasked_is_seen_before_the_next_request(more: bytes) -> None:
    async def go() -> None:
        async with both() as (channel, action):
            await answered(channel, action, b"{}", more)
            while not channel.is_broken:
                await asyncio.sleep(0)

    run(go())


def test_an_end_is_seen_before_the_next_request() -> None:
    async def go() -> None:
        async with both() as (channel, action):
            await answered(channel, action, b"{}")
            action.close()
            while not channel.is_broken:
                await asyncio.sleep(0)
            with pytest.raises(GoneError):
                await channel.post("/run", {})

    run(go())
