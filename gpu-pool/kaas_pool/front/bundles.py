"""Bundles: uploaded, checked, compiled, kept by digest, and known to those tenants that uploaded them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import sqlite3
import tempfile
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import kaas_emulator
from kaas.binding import Binding
from kaas.bundle import Bundle
from kaas.errors import CallerError, PlatformError
from kaas.formats import Layout
from kaas.manifest import FILE_NAME, Manifest
from kaas_pool.compiler.client import CompilerClient
from kaas_pool.compiler.messages import CompiledSource, Target, sealed_file
from kaas_pool.frames import Frame, Link
from kaas_pool.front.executor import Facts
from kaas_pool.front.journal import Journal, unwritable
from kaas_pool.front.supervisor_client import Child, SupervisorClient
from kaas_pool.plan import private_copies
from kaas_pool.signature_check import signatures_of
from kaas_pool.storage import is_full, storage_full
from kaas_pool.workspace import device_bytes

#: Writing a bundle takes less than this.
_PARTIAL_SECONDS = 3600.0

#: Opened bundles in memory: a manifest and its images each, some 100 kB.
_OPENED = 256

#: A pool that was started again has its first device within a second or two.
_FIRST_DEVICE_SECONDS = 10.0

_log = logging.getLogger(__name__)


class _Compiler:
    """A compiler child, as the compiler's client wants to see it."""

    def __init__(self, child: Child) -> None:
        self._child = child

    @property
    def link(self) -> Link:
        return self._child.link

    def kill(self, reason: str) -> None:
        self._child.kill(reason)

    async def exited(self) -> int:
        return await asyncio.shield(self._child.exited)


@dataclass(eq=False)
class OpenedBundle:
    """What calls need of a bundle. `text` is the manifest as uploaded; images are by target."""

    digest: str
    manifest: Manifest
    text: bytes
    layouts: Mapping[str, Layout]
    images: dict[Target, Sequence[CompiledSource]]
    _private: frozenset[str] | None = None

    def device_bytes(self, binding: Binding) -> int:
        """Device memory that an invocation with these sizes needs at once, in bytes: what the executor's plan takes."""
        if self._private is None:
            # All targets' signatures come from one reading of the sources, or from the manifest.
            self._private = private_copies(self.manifest, signatures_of(next(iter(self.images.values()))))
        sizes = {name: buffer.nbytes for name, buffer in binding.buffers.items()}
        apart = next(iter(self.images)).device == "emulated" and kaas_emulator.checked()
        return device_bytes(self.manifest, sizes, self._private, apart=apart)

    def image_frames(self, target: Target) -> list[tuple[Frame, int]]:
        """Each image's description for an executor and a descriptor of it; the caller closes them."""
        return [
            ({"source": one.unit.name, "image": index, "signatures": one.signatures}, one.open_image())
            for index, one in enumerate(self.images[target])
        ]


class Bundles:
    """All bundles of the pool.

    `targets` gives what to compile for: one entry per kind of device that serves; `first_device` waits for the first.
    """

    def __init__(
        self,
        directory: Path,
        images: Path,
        kind: str,
        journal: Journal,
        supervisor: Callable[[], SupervisorClient],
        targets: Callable[[], set[Target]],
        first_device: Callable[[], Awaitable[object]],
    ) -> None:
        self._directory = directory
        self._images = images
        self._kind = cast("Literal['cuda', 'emulated']", kind)
        self._journal = journal
        self._supervisor = supervisor
        self._targets = targets
        self._first_device = first_device
        self._known = set(journal.bundles())
        #: Uploads that are being written, by digest.
        self._keeping: Counter[str] = Counter()
        self._opened: OrderedDict[str, OpenedBundle] = OrderedDict()
        self._opening: dict[str, asyncio.Task[OpenedBundle]] = {}
        self._compilers: dict[Target, CompilerClient] = {}
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def target(self, facts: Facts) -> Target:
        """What to compile for on a device."""
        # The host compiler is the same whatever device is emulated.
        return Target(self._kind, facts.compute_capability if self._kind == "cuda" else (0, 0))

    async def put(self, tenant: str, digest: str, data: bytes) -> dict[str, Any]:
        """Take an upload: check, compile, keep, and let the tenant use it. Raises what is wrong with it."""
        actual = f"sha256:{await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())}"
        if actual != digest:
            raise CallerError(
                "request_invalid",
                f"the body's digest is {actual}, not {digest}",
                where="digest",
                hint="the digest is that of exactly the bytes sent",
            )
        opened = await self._open(digest, data)
        if (tenant, digest) not in self._known:
            await self._keep(tenant, digest, data)
        return self._described(opened)

    async def describe(self, tenant: str, digest: str) -> dict[str, Any]:
        """What `put` answered, and the manifest's text. Raises `bundle_unknown`."""
        opened = await self.get(tenant, digest)
        return {**self._described(opened), "manifest": opened.text.decode()}

    def _described(self, opened: OpenedBundle) -> dict[str, Any]:
        compiled = [one for target in self._targets() for one in opened.images.get(target, ())]
        return {
            "digest": opened.digest,
            "name": opened.manifest.name,
            "arguments": [*opened.manifest.buffers, *opened.manifest.params],
            "kernels": [kernel for kernels in opened.manifest.kernels.values() for kernel in kernels],
            "warnings": list(dict.fromkeys(one.log for one in compiled if one.log)),
        }

    async def _keep(self, tenant: str, digest: str, data: bytes) -> None:
        self._keeping[digest] += 1
        try:
            await asyncio.to_thread(_write_whole, self._path(digest), data)
            await self._journal.know_bundle(tenant, digest)
            self._known.add((tenant, digest))
        except OSError as error:
            if is_full(error):
                raise storage_full("the bundle cannot be kept") from error
            raise PlatformError(
                "internal",
                f"the pool cannot keep the bundle: {error.strerror}",
                hint="the pool's operator has to look at its state directory",
            ) from error
        except sqlite3.Error as error:
            raise unwritable(error) from error
        finally:
            self._keeping -= Counter([digest])

    async def collect(self) -> int:
        """Delete files that no tenant has uploaded as far as the journal knows; returns how many.

        They are left by a front that died between writing a file and its journal.
        """
        entries = await asyncio.to_thread(lambda: list(self._directory.iterdir()))
        wanted = {digest for _, digest in self._known} | set(self._keeping)
        gone = 0
        for path in entries:
            with contextlib.suppress(FileNotFoundError):  # It was being written and has its name now.
                is_partial = path.name.startswith(".")
                if is_partial and path.stat().st_mtime > time.time() - _PARTIAL_SECONDS:
                    continue
                if is_partial or f"sha256:{path.name}" not in wanted:
                    path.unlink()
                    gone += 1
        return gone

    def recent(self, tenant: str, digest: str) -> OpenedBundle | None:
        """A bundle of this tenant that is open already."""
        opened = self._opened.get(digest)
        return opened if opened is not None and (tenant, digest) in self._known else None

    async def get(self, tenant: str, digest: str) -> OpenedBundle:
        """A bundle of this tenant. Raises `bundle_unknown`."""
        if (tenant, digest) not in self._known:
            raise _unknown(digest)
        return await self._open(digest, None)

    async def images(self, digest: str, target: Target) -> OpenedBundle:
        """A kept bundle with its images for `target`."""
        opened = self._opened.get(digest)
        if opened is None or target not in opened.images:
            opened = await self._open(digest, None, target)
        return opened

    async def open_file(self, digest: str, path: str) -> int:
        """A sealed descriptor of a bundled file; the caller closes it."""

        def read() -> int:
            bundle = Bundle.open(self._path(digest).read_bytes())
            return sealed_file("kaas-bundled", bundle.files[path])

        return await asyncio.to_thread(read)

    async def _open(self, digest: str, data: bytes | None, target: Target | None = None) -> OpenedBundle:
        targets = {target} if target is not None else self._targets()
        if not targets:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._first_device(), _FIRST_DEVICE_SECONDS)
            targets = self._targets()
        if not targets:
            raise PlatformError(
                "device_unavailable", "no device serves yet, so the bundle cannot be compiled", retry_after_ms=1000
            )
        opened = self._opened.get(digest)
        if opened is not None and targets <= opened.images.keys():
            self._opened.move_to_end(digest)
            return opened
        task = self._opening.get(digest)
        if task is None or task.done():
            task = self._begin(digest, self._open_and_compile(digest, data, targets))
        opened = await asyncio.shield(task)
        # Another caller's task may have compiled for other targets.
        return opened if targets <= opened.images.keys() else await self._open(digest, data, target)

    def _begin(self, digest: str, work: Coroutine[Any, Any, OpenedBundle]) -> asyncio.Task[OpenedBundle]:
        task = asyncio.get_running_loop().create_task(work, name=f"open {digest}")

        def ended(_: asyncio.Task[OpenedBundle]) -> None:
            if self._opening.get(digest) is task:
                del self._opening[digest]
            if not task.cancelled():
                task.exception()  # Perhaps nobody waits for it any more.

        self._opening[digest] = task
        task.add_done_callback(ended)
        return task

    async def _open_and_compile(self, digest: str, data: bytes | None, targets: set[Target]) -> OpenedBundle:
        if data is None:
            try:
                data = await asyncio.to_thread(self._path(digest).read_bytes)
            except FileNotFoundError:
                _log.error("bundle %s is known but not on disk; its tenants have to upload it again", digest)
                raise _unknown(digest) from None
        bundle = await asyncio.to_thread(Bundle.open, data)
        opened = self._opened.get(digest)
        if opened is None:
            text = bundle.files.get(FILE_NAME, data)
            opened = OpenedBundle(digest, bundle.manifest, text, bundle.layouts, {})
        for target in targets - opened.images.keys():
            if target not in self._compilers:
                self._compilers[target] = CompilerClient(self._spawn, target, self._images)
            opened.images[target] = await self._compilers[target].compile(bundle, data)
        self._opened[digest] = opened
        while len(self._opened) > _OPENED:
            self._opened.popitem(last=False)
        return opened

    async def _spawn(self) -> _Compiler:
        return _Compiler(await self._supervisor().spawn("compiler"))

    def _path(self, digest: str) -> Path:
        return self._directory / digest.partition(":")[2]


def _unknown(digest: str) -> CallerError:
    return CallerError(
        "bundle_unknown",
        f"this tenant has not uploaded {digest}",
        where="bundle",
        hint=f"PUT /v1/bundles/{digest} and call again",
    )


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    descriptor, aside = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(aside).rename(path)
    except OSError:
        Path(aside).unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
