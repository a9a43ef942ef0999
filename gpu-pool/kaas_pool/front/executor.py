"""One executor process as the front sees it: its link, the bundles it knows, the attempts that run on it."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kaas.errors import KaasError, PlatformError
from kaas_pool.frames import AsyncLink, Frame
from kaas_pool.front.executor_frames import check_answer, check_frame, limit_times
from kaas_pool.front.supervisor_client import Child

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Facts:
    """What an executor says about its device when it greets. Sizes in bytes."""

    name: str
    memory_bytes: int
    compute_capability: tuple[int, int]

    @staticmethod
    def of(hello: Frame) -> Facts:
        """Read a `hello`."""
        major, minor = hello["compute_capability"]
        return Facts(str(hello["name"]), int(hello["memory_bytes"]), (int(major), int(minor)))


class Run:
    """One attempt on an executor: frames in the order they came, or the news that the executor is dead."""

    def __init__(self, frame: Frame) -> None:
        self.name = str(frame["inv"])
        #: Content keys that the executor may ask for, and buffers that it gives by value.
        self.inputs = frozenset(item["key"] for item in frame["inputs"])
        self.inline = [item["buffer"] for item in frame["outputs"] if "segment" not in item]
        #: Whether the executor has said its last word about it before the adoption: `done` or `failed`.
        self.is_over = False
        #: When it was sent, in monotonic seconds.
        self.sent = time.monotonic()
        self._frames: deque[Frame] = deque()
        self._lost: KaasError | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> Frame:
        """The next `need`, `copied`, `done` or `failed`. Raises `executor_lost` once the process is known dead."""
        while not self._frames:
            if self._lost is not None:
                raise self._lost
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._frames.popleft()

    def put(self, frame: Frame) -> None:
        """A frame about this attempt came."""
        self._frames.append(frame)
        self.is_over = self.is_over or frame["type"] in ("done", "failed")
        self._wake()

    def lose(self, error: KaasError) -> None:
        """The executor is dead."""
        self._lost = error
        self.is_over = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Executor:
    """A living executor. `on_usage(bytes)` follows its memory; `on_dead()` is called once, after it was reaped."""

    def __init__(
        self, child: Child, device: str, domain: str, on_usage: Callable[[int], None], on_dead: Callable[[], None]
    ) -> None:
        self.child = child
        self.device = device
        self.domain = domain
        self.facts: Facts | None = None
        #: Attempts that hold it: those that run and those whose outputs wait for their adoption.
        self.users = 0
        #: Since when nobody does, in monotonic seconds.
        self.idle_since = time.monotonic()
        #: What it keeps on the device, as it said last.
        self.held_bytes = 0
        self.pinned_bytes = 0
        self.resident: dict[str, int] = {}
        self._runs: dict[str, Run] = {}
        self._bundles: set[str] = set()
        self._doomed = False
        self._budget = 0
        self._reported: asyncio.Future[None] | None = None
        self._on_usage = on_usage
        self._on_dead = on_dead
        self._greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._link = AsyncLink(child.link, self._on_frame, self._on_close)

    @property
    def is_alive(self) -> bool:
        """Whether it takes attempts."""
        return not (self._doomed or self._link.closed)

    async def greeting(self) -> Facts:
        """Wait until it serves. Raises `device_unavailable` when it ends before."""
        await asyncio.shield(self._greeted)
        assert self.facts is not None
        return self.facts

    def set_budget(self, size: int) -> None:
        """How much device memory it may hold."""
        self._budget = size
        self._link.send({"type": "budget", "bytes": size})

    async def purge(self) -> int:
        """Drop the cached contents that no attempt uses; returns their bytes."""
        before, budget = self.held_bytes, self._budget
        # It evicts down to a budget and reports that, so none and then the old one again is a purge.
        self._reported = asyncio.get_running_loop().create_future()
        self.set_budget(0)
        self.set_budget(budget)
        await self._reported
        return max(0, before - self.held_bytes)

    def knows(self, digest: str) -> bool:
        """Whether it has been sent this bundle."""
        return digest in self._bundles

    def send_bundle(self, digest: str, manifest: bytes, images: Sequence[tuple[Frame, int]]) -> None:
        """Send a bundle's manifest and its images; each image is its description and a descriptor."""
        self._bundles.add(digest)
        self._link.send(
            {
                "type": "bundle",
                "digest": digest,
                "manifest": base64.b64encode(manifest).decode(),
                "images": [description for description, _ in images],
            },
            [descriptor for _, descriptor in images],
        )

    def run(self, frame: Frame, descriptors: Sequence[int]) -> Run:
        """Start an attempt; `frame` is the `run` frame. The executor has to be alive."""
        run = Run(frame)
        self._runs[run.name] = run
        self._link.send(frame, descriptors)
        return run

    def supply(self, run: Run, key: str, offset: int, size: int, descriptor: int) -> None:
        """Give one input from a host segment."""
        frame = {"type": "supply", "inv": run.name, "key": key, "offset": offset, "size": size}
        self._link.send(frame, [descriptor])

    def supply_data(self, run: Run, key: str, data: bytes) -> None:
        """Give one input by value."""
        text = base64.b64encode(data).decode()
        self._link.send({"type": "supply", "inv": run.name, "key": key, "offset": 0, "size": len(data), "data": text})

    def drop(self, run: Run) -> None:
        """Forget an attempt or its outputs; before its `done` an answer follows (`Run.next`)."""
        self._link.send({"type": "drop", "inv": run.name})

    def adopt(self, run: Run, keys: dict[str, str]) -> None:
        """The attempt's outputs are stored and may stay as cache under these content keys."""
        self._link.send({"type": "adopt", "inv": run.name, "keys": keys})

    def rename(self, keys: dict[str, str]) -> None:
        """Cached contents have other content keys from now on."""
        self._link.send({"type": "rename", "keys": keys})

    def forget(self, run: Run) -> None:
        """No more frames are expected for an attempt."""
        self._runs.pop(run.name, None)

    def kill(self, reason: str) -> None:
        """Have it killed; its attempts are lost when it is reaped."""
        self._doomed = True
        self.child.kill(reason)

    def _on_frame(self, frame: Frame, descriptors: list[int]) -> None:
        for descriptor in descriptors:
            os.close(descriptor)
        check_frame(frame)
        kind = frame["type"]
        if kind in ("done", "need", "copied", "failed"):
            # It exits next: nothing more goes to it, and nobody tries again before it is known dead.
            self._doomed = self._doomed or bool(frame.get("fatal", False))
            run = self._runs.get(frame["inv"])
            if run is not None:
                check_answer(frame, run.inputs, run.inline)
                if kind == "done":
                    limit_times(frame, (time.monotonic() - run.sent) * 1e3)
                run.put(frame)
        elif kind == "usage":
            self.held_bytes, self.pinned_bytes = int(frame["bytes"]), int(frame.get("pinned", 0))
            for key in frame.get("evicted", ()):
                self.resident.pop(key, None)
            self.resident.update((key, size) for key, size in frame.get("added", ()))
            self._on_usage(self.held_bytes)
            self._tell_reported()
        elif self.facts is not None:
            raise ValueError("a second greeting")
        else:
            self.facts = Facts.of(frame)
            self.resident = dict(frame.get("resident", ()))
            if not self._greeted.done():
                self._greeted.set_result(None)

    def _tell_reported(self) -> None:
        if self._reported is not None and not self._reported.done():
            self._reported.set_result(None)

    def _on_close(self, reason: str) -> None:
        # The link may end before the process does; nobody may retry elsewhere before it is known dead.
        self.child.kill(f"its link ended: {reason}")
        self.child.exited.add_done_callback(self._on_exited)

    def _on_exited(self, exited: asyncio.Future[int]) -> None:
        status = exited.result()
        _log.warning("executor %s (device %s, %s) ended with %d", self.child.name, self.device, self.domain, status)
        if not self._greeted.done():
            self._greeted.set_exception(
                PlatformError(
                    "device_unavailable",
                    f"the executor for device {self.device} ended with status {status} before it served",
                    hint="the pool's log has its last words",
                )
            )
            self._greeted.exception()  # Perhaps nobody waits for it.
        lost = PlatformError("executor_lost", f"the executor of device {self.device} died (status {status})")
        self._tell_reported()
        runs, self._runs = list(self._runs.values()), {}
        for run in runs:
            run.lose(lost)
        self._on_dead()
