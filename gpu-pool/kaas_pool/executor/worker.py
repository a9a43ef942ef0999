"""The executor's work: runs come in as frames, become device work, and go out as frames. Never blocks.

`handle` takes a frame of the front, `poll` looks at what the device has finished; both may send. Every invocation is in
one stage (invocation.py); loads, computing and stores of different invocations overlap on streams of their own.
"""

from __future__ import annotations

import base64
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NoReturn

from kaas.errors import CallerError, KaasError, PlatformError
from kaas_pool.executor.bundles import BundleStore
from kaas_pool.executor.cache import DeviceCache
from kaas_pool.executor.computation import Computation
from kaas_pool.executor.device import Device
from kaas_pool.executor.driver_errors import Failure
from kaas_pool.executor.host import Bytes, Mapped
from kaas_pool.executor.invocation import Invocation
from kaas_pool.executor.memory import charge
from kaas_pool.executor.printing import Printing, Sink
from kaas_pool.executor.profile import Profile
from kaas_pool.executor.residency import Busy
from kaas_pool.executor.timer import Timer
from kaas_pool.frames import Frame
from kaas_pool.plan import PlanCache
from kaas_pool.printed import Printed

#: What is in flight when a new front comes has so long to end, in seconds. Nobody watches its budget any more, and an
#: endless kernel would hold up the device for ever.
ORPHAN_SECONDS = 1.0


class ContextLost(Exception):
    """The context is gone and every invocation has been told; the process must end."""


class Worker:
    """One device's invocations, cache and bundles. `send` takes frames for the front.

    `sink` has to be the process's standard output while the worker is used.
    """

    def __init__(self, device: Device, budget: int, send: Callable[[Frame], None], sink: Sink) -> None:
        self._device = device
        self._send = send
        self._cache = DeviceCache(device, budget)
        #: What may be run.
        self.bundles = BundleStore(device)
        self._plans = PlanCache()
        self._invocations: dict[str, Invocation] = {}
        self._waiting: deque[Invocation] = deque()
        self._ready: deque[Invocation] = deque()
        self._free_slots = list(device.slots)
        self._computing: list[Invocation] = []
        self._printing = Printing(device, sink)
        #: Copies under way, oldest first: (event, content key, who supplied it, what must stay until then).
        self._copies_in: deque[tuple[Any, str, str, Any]] = deque()
        self._copies_out: deque[tuple[Any, Invocation]] = deque()
        #: Counts links: the front may use an `inv` again after it has been restarted.
        self._link = 0
        self._orphans_until: float | None = None
        self._handlers: Mapping[str, Callable[[Frame, list[int]], None]] = {
            "budget": self._on_budget,
            "bundle": self._on_bundle,
            "supply": self._on_supply,
            "adopt": self._on_adopt,
            "rename": self._on_rename,
            "drop": self._on_drop,
        }

    # ***** the link *****

    @property
    def in_flight(self) -> bool:
        """Whether the device works, so that `poll` will have something to see."""
        return bool(self._computing or self._copies_in or self._copies_out)

    def attach(self) -> list[tuple[str, int]]:
        """A new link to the front: forget what is in flight, keep the cache; returns it as (key, bytes).

        Raises ContextLost.
        """
        self._link += 1
        try:
            for invocation in list(self._invocations.values()):
                invocation.silent = True
                self._abort(invocation)
            self._orphans_until = time.monotonic() + ORPHAN_SECONDS if self._invocations else None
            return self._cache.hello()
        except self._device.driver_error as error:
            self._lose(self._device.failure(error))

    def handle(self, frame: Frame, descriptors: list[int], profile: Profile | None = None) -> None:
        """Act on one frame; closes its descriptors. `profile` gets the times of a `run`'s operations.

        Raises ContextLost, and KeyError, TypeError or ValueError for what is no frame of the contract.
        """
        try:
            if frame["type"] == "run":
                self._on_run(frame, descriptors, profile)
            else:
                self._handlers[frame["type"]](frame, descriptors)
            self._settle()
        except self._device.driver_error as error:
            self._lose(self._device.failure(error))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def poll(self) -> bool:
        """Look at the device once; True if anything went on. Raises ContextLost."""
        try:
            progress = self._poll_copies_in()
            progress = self._poll_computing() or progress
            progress = self._poll_copies_out() or progress
            if progress:
                self._settle()
            if self._orphans_until is not None and time.monotonic() > self._orphans_until:
                self._end_orphans()
            return progress
        except self._device.driver_error as error:
            self._lose(self._device.failure(error))

    # ***** frames *****

    def _on_budget(self, frame: Frame, descriptors: list[int]) -> None:
        self._cache.residency.shrink(int(frame["bytes"]))
        self._tell(always=True)

    def _on_bundle(self, frame: Frame, descriptors: list[int]) -> None:
        self.bundles.add_frame(frame, descriptors)

    def _on_run(self, frame: Frame, descriptors: list[int], profile: Profile | None) -> None:
        inv, digest = str(frame["inv"]), frame["digest"]
        try:
            bundle = self.bundles.get(digest)
            plan = self._plans.get(digest, bundle.manifest, frame["binding"], bundle.signatures, self._device.limits)
            invocation = Invocation.of(frame, descriptors, f"{self._link}/{inv}", plan)
        except KaasError as error:
            self._send({"type": "failed", "inv": inv, "error": error.to_json(), "fatal": False})
            return
        invocation.printed = Printed() if bundle.prints else None
        invocation.profile = profile
        self._invocations[invocation.id] = invocation
        self._waiting.append(invocation)

    def _on_supply(self, frame: Frame, descriptors: list[int]) -> None:
        key = frame["key"]
        loading = self._cache.residency.loading(key, f"{self._link}/{frame['inv']}")
        if loading is None:
            return
        handle, size = loading
        try:
            held, data = self._supplied(frame, descriptors, size)
        except KaasError as error:
            for identifier in self._cache.residency.not_loaded(key):
                self._end(self._invocations[identifier], error)
            return
        self._device.copy_in(self._cache.address(handle), data, self._device.copy_in_stream)
        self._copies_in.append((self._device.record(self._device.copy_in_stream), key, frame["inv"], held))

    def _supplied(self, frame: Frame, descriptors: list[int], charged: int) -> tuple[Mapped | None, Bytes | bytes]:
        """The mapping that holds the data, if one does, and the data."""
        inline = frame.get("data")
        data = base64.b64decode(inline) if inline is not None else b""
        size = len(data) if inline is not None else int(frame["size"])
        if charge(size) != charged:
            raise PlatformError("internal", f"{frame['key']} came with {size} bytes, which is not its size")
        if inline is not None:
            return None, data
        mapped = Mapped(descriptors[0], int(frame["offset"]), size, writable=False)
        self._device.page_lock(mapped)
        return mapped, mapped.array

    def _on_adopt(self, frame: Frame, descriptors: list[int]) -> None:
        self._cache.residency.adopt(f"{self._link}/{frame['inv']}", frame["keys"])

    def _on_rename(self, frame: Frame, descriptors: list[int]) -> None:
        for old, new in frame["keys"].items():
            self._cache.residency.rename(old, new)

    def _on_drop(self, frame: Frame, descriptors: list[int]) -> None:
        identifier = f"{self._link}/{frame['inv']}"
        invocation = self._invocations.get(identifier)
        if invocation is None:
            self._cache.residency.drop(identifier)
        else:
            self._abort(invocation)

    # ***** the stages *****

    def _settle(self) -> None:
        """Go on wherever something can: memory for who waits, slots for who is ready, news for the front."""
        self._grant_memory()
        self._start_ready()
        self._tell()

    def _grant_memory(self) -> None:
        # Strictly in order: a large set is not overtaken for ever by small ones.
        while self._waiting:
            invocation = self._waiting[0]
            granted = self._cache.grant(invocation.id, invocation.plan, invocation.keys)
            if isinstance(granted, Busy):
                return
            self._waiting.popleft()
            if isinstance(granted, KaasError):
                self._end(invocation, granted)
                continue
            invocation.pinned = granted
            invocation.missing = {*granted.loads, *granted.joins}
            if invocation.missing:
                invocation.move("loading")
                self._need(invocation, granted.loads)
            else:
                self._make_ready(invocation)

    def _make_ready(self, invocation: Invocation) -> None:
        invocation.move("ready")
        invocation.loaded = time.monotonic()
        self._ready.append(invocation)

    def _start_ready(self) -> None:
        while self._ready and self._free_slots:
            invocation = self._ready[0]
            if self._computing and (invocation.alone or self._computing[0].alone):
                return
            self._ready.popleft()
            self._start(invocation)

    def _start(self, invocation: Invocation) -> None:
        """Put the first of an invocation's operations on a stream."""
        device, plan, pinned = self._device, invocation.plan, invocation.pinned
        assert pinned is not None
        try:
            functions = self.bundles.functions(invocation.digest, plan.kernels)
        except device.driver_error as error:
            failure = device.failure(error)
            if failure.fatal:
                raise
            self._end(invocation, failure.error)
            return
        invocation.move("computing")
        invocation.started = time.monotonic()
        slot = self._free_slots.pop()
        computation = invocation.computation = Computation(device, slot, plan, invocation.outputs)
        self._computing.append(invocation)
        self._printing.begin(invocation.printed, slot.stream)
        own = {name: self._cache.address(handle) for name, handle in pinned.work.items()}
        cached = {buffer: self._cache.address(pinned.inputs[key]) for buffer, key in invocation.keys.items()}
        timing = None
        if invocation.profile is not None:
            timing = partial(Timer, device, plan, self.bundles.get(invocation.digest), invocation.profile)
        computation.begin(functions, own, cached, scrub=invocation.scrub, timing=timing)
        self._advance(invocation)

    def _advance(self, invocation: Invocation) -> bool:
        """Hand over more operations; True if anything was handed over."""
        computation = invocation.computation
        assert computation is not None
        try:
            advanced = computation.advance()
        except self._device.driver_error as error:
            failure = self._device.failure(error, launching=computation.where)
            if failure.fatal:
                raise
            self._drain(invocation, failure.error)
            return True
        except KaasError as error:
            # A step that depends on a loop's index is checked when its turn comes.
            self._drain(invocation, error)
            return True
        computation.conclude()
        return advanced

    def _poll_copies_in(self) -> bool:
        progress = False
        while self._copies_in and self._copies_in[0][0].query():
            event, key, inv, mapped = self._copies_in.popleft()
            self._device.recycle(event)
            if mapped is not None:
                mapped.close()
                self._send({"type": "copied", "inv": inv, "key": key})
            for identifier in self._cache.residency.loaded(key):
                invocation = self._invocations[identifier]
                invocation.missing.discard(key)
                if not invocation.missing:
                    self._make_ready(invocation)
            progress = True
        return progress

    def _poll_computing(self) -> bool:
        progress = False
        self._printing.look()
        for invocation in list(self._computing):
            progress = self._advance(invocation) or progress
            assert invocation.computation is not None
            if invocation.computation.is_done:
                self._computed(invocation, invocation.computation)
                progress = True
        return progress

    def _computed(self, invocation: Invocation, computation: Computation) -> None:
        """Its operations have ended: the slot is free, the outputs go out."""
        invocation.gpu_ms = computation.gpu_ms
        computation.close()
        self._printing.end(invocation.printed, computation.slot.stream)
        self._computing.remove(invocation)
        self._free_slots.append(computation.slot)
        if invocation.error is not None:
            self._end(invocation, invocation.error)
            return
        invocation.move("storing")
        if computation.has_copied:
            self._done(invocation)
        else:
            stream = self._device.copy_out_stream
            computation.copy_out(stream)
            self._copies_out.append((self._device.record(stream), invocation))

    def _poll_copies_out(self) -> bool:
        progress = False
        while self._copies_out and self._copies_out[0][0].query():
            event, invocation = self._copies_out.popleft()
            self._device.recycle(event)
            if invocation.error is not None:
                self._end(invocation, invocation.error)
            else:
                self._done(invocation)
            progress = True
        return progress

    # ***** ends *****

    def _done(self, invocation: Invocation) -> None:
        """The results are in host memory: answer, and keep the outputs until the front adopts or drops them."""
        inline = invocation.inline()
        stats = invocation.statistics(time.monotonic())
        self._answer(invocation, {"type": "done", "stats": stats, "inline": inline})
        # What came back inline is not stored, so no content key will ever name it.
        stored = {output.storage: output.buffer for output in invocation.outputs if output.segment is not None}
        self._forget(invocation, keep=stored)

    def _end(self, invocation: Invocation, error: KaasError) -> None:
        """It has failed and nothing of it is on the device."""
        if not invocation.silent:
            self._answer(invocation, {"type": "failed", "error": error.to_json(), "fatal": False})
        self._forget(invocation)

    def _forget(self, invocation: Invocation, keep: Mapping[str, str] | None = None) -> None:
        invocation.move("ended")
        del self._invocations[invocation.id]
        invocation.close_outputs()
        if invocation.pinned is None:
            return
        for key, other in self._cache.residency.release(invocation.id, keep or {}):
            self._need(self._invocations[other], [key])

    def _drain(self, invocation: Invocation, error: KaasError) -> None:
        """It ends with `error` when the device is done with what it has of it; it gets nothing more."""
        invocation.error = error
        if invocation.stage == "computing":
            assert invocation.computation is not None
            invocation.computation.stop()
        invocation.move("draining")

    def _abort(self, invocation: Invocation) -> None:
        """The front does not want it any more."""
        error = CallerError("cancelled", "the invocation was cancelled")
        if invocation.stage in ("computing", "storing"):
            self._drain(invocation, error)
        elif invocation.stage != "draining":
            for queue in (self._waiting, self._ready):
                if invocation in queue:
                    queue.remove(invocation)
            self._end(invocation, error)

    def _end_orphans(self) -> None:
        """The time for what earlier fronts had in flight is up: end the process if the device still works for it."""
        self._orphans_until = None
        if any(invocation.silent for invocation in self._invocations.values()):
            error = PlatformError("executor_lost", "a kernel of an earlier front does not end")
            self._lose(Failure(error, fatal=True))

    def _lose(self, failure: Failure) -> NoReturn:
        """Answer for everything after an error that nobody expected; a lost context ends the process.

        Whose kernel a fault was is certain only if one invocation computed. If several did, none is blamed: each may
        be retried, marked `suspect`, so that the front can run it `alone`.
        """
        suspects = self._computing if failure.error.code == "kernel_fault" else []
        culprit = suspects[0] if len(suspects) == 1 else None
        if culprit is not None and culprit.computation is not None:
            self._printing.fault(culprit.computation.slot.stream)
        for invocation in self._invocations.values():
            if invocation.silent:
                continue
            if invocation is culprit:
                error = failure.error
            elif invocation.error is not None:
                error = invocation.error
            else:
                error = PlatformError("executor_lost", f"the device's context was lost: {failure.error.message}")
            suspect = {"suspect": True} if culprit is None and invocation in suspects else {}
            self._answer(invocation, {"type": "failed", "error": error.to_json(), "fatal": True, **suspect})
        raise ContextLost(str(failure.error))

    # ***** news *****

    def _answer(self, invocation: Invocation, frame: Frame) -> None:
        """The last word about an invocation, with what its kernels printed, if they did."""
        printed = invocation.printed.to_json() if invocation.printed is not None else {}
        self._send({**frame, "inv": invocation.inv, **({"printed": printed} if printed else {})})

    def _need(self, invocation: Invocation, keys: Iterable[str]) -> None:
        wanted = list(keys)
        if wanted and not invocation.silent:
            self._send({"type": "need", "inv": invocation.inv, "keys": wanted})

    def _tell(self, *, always: bool = False) -> None:
        if (news := self._cache.news(always=always)) is not None:
            self._send(news)
