"""Compiling a bundle from an asyncio loop: cached images, one child per source, coalesced and bounded in number."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from kaas.bundle import Bundle
from kaas_pool.compiler import messages
from kaas_pool.compiler.answers import read_answer
from kaas_pool.compiler.images import ImageCache, image_key, included_files
from kaas_pool.compiler.messages import CompiledSource, Target, Unit
from kaas_pool.compiler.toolchains import Toolchain
from kaas_pool.frames import AsyncLink, Frame, Link
from kaas_pool.signature_check import check_compiled


class CompilerChild(Protocol):
    """A compiler that was started for one compile."""

    @property
    def link(self) -> Link:
        """This side's end; `CompilerClient` closes it."""

    def kill(self, reason: str) -> None:
        """End it now; `exited` tells when it is so."""

    async def exited(self) -> int:
        """Wait for its end: the exit code, negative for a signal, as in subprocess."""


class CompilerClient:
    """Compiles for one target. `spawn` starts a child, `at_once` bounds how many run at a time."""

    def __init__(
        self, spawn: Callable[[], Awaitable[CompilerChild]], target: Target, images: Path, at_once: int = 2
    ) -> None:
        self._spawn = spawn
        self._target = target
        self._images = ImageCache(images)
        self._slots = asyncio.Semaphore(at_once)
        self._running: dict[str, asyncio.Task[CompiledSource]] = {}

    async def compile(self, bundle: Bundle, data: bytes) -> list[CompiledSource]:
        """The compiled sources of a bundle, in the order written; `data` is the upload that `bundle` was opened from.

        Raises the first source's error: `compile_error`, `kernel_not_found`, `compile_limit`, `sandbox_unavailable`,
        `toolchain_missing` or `internal`; when all compile, `signature_mismatch`. Equal compiles that run at the same
        moment are one.
        """
        files = await asyncio.to_thread(included_files, bundle)
        toolchain = await asyncio.to_thread(Toolchain.present, self._target)
        keyed = [
            (image_key(files, unit, self._target, toolchain.fingerprint), unit) for unit in Unit.all_of(bundle.manifest)
        ]
        outcomes = await asyncio.gather(
            *(self._one(key, unit, data, toolchain) for key, unit in keyed), return_exceptions=True
        )
        compiled: list[CompiledSource] = []
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            compiled.append(outcome)
        check_compiled(bundle.manifest, compiled)
        return compiled

    async def _one(self, key: str, unit: Unit, data: bytes, toolchain: Toolchain) -> CompiledSource:
        found = await asyncio.to_thread(self._images.find, key, unit)
        if found is not None:
            return found
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._compile(key, unit, data, toolchain))
            self._running[key] = task
            task.add_done_callback(lambda done: self._finish(key, done))
        # One caller that goes away does not take the compile from the others.
        return await asyncio.shield(task)

    def _finish(self, key: str, done: asyncio.Task[CompiledSource]) -> None:
        del self._running[key]
        if not done.cancelled():
            done.exception()  # Perhaps nobody waits for it any more.

    async def _compile(self, key: str, unit: Unit, data: bytes, toolchain: Toolchain) -> CompiledSource:
        async with self._slots:
            try:
                compiled = await self._run_child(unit, data)
            except messages.ChildDied as death:
                if not death.is_killing:
                    raise messages.died(unit, death.exit_code) from None
                compiled = await self._try_again(unit, data)
        if await asyncio.to_thread(lambda: toolchain.is_unchanged):
            await asyncio.to_thread(self._images.keep, key, compiled)
        return compiled

    async def _try_again(self, unit: Unit, data: bytes) -> CompiledSource:
        try:
            return await self._run_child(unit, data)
        except messages.ChildDied as death:
            raise messages.died(unit, death.exit_code) from None

    async def _run_child(self, unit: Unit, data: bytes) -> CompiledSource:
        child = await self._spawn()
        answered: asyncio.Future[tuple[Frame, list[int]]] = asyncio.get_running_loop().create_future()
        closed = asyncio.Event()

        def on_frame(frame: Frame, descriptors: list[int]) -> None:
            if answered.done():
                for descriptor in descriptors:
                    os.close(descriptor)
            else:
                answered.set_result((frame, descriptors))

        link = AsyncLink(child.link, on_frame, lambda _: closed.set())
        bundle = messages.sealed_file("kaas-bundle", data)
        try:
            link.send(unit.to_frame(self._target), [bundle])
            ended = asyncio.create_task(closed.wait())
            waited: set[asyncio.Future[Any]] = {answered, ended}
            await asyncio.wait(waited, timeout=messages.WALL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            if answered.done():
                return read_answer(unit, *answered.result())
            if not closed.is_set():
                child.kill("compiling took too long")
                raise messages.too_slow(unit)
            raise messages.ChildDied(await child.exited())
        except asyncio.CancelledError:
            child.kill("nobody waits for it")
            raise
        finally:
            os.close(bundle)
            link.close()
