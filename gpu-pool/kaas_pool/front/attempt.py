"""One attempt of an invocation on one device: load, run, store; and giving back whatever it held, in every case."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from kaas.binding import BundleFile
from kaas.errors import CallerError, KaasError, PlatformError
from kaas_pool.content import ObjectRange
from kaas_pool.frames import Frame
from kaas_pool.front.bundles import Bundles
from kaas_pool.front.executor import Executor, Run
from kaas_pool.front.executors import Executors
from kaas_pool.front.host_room import HostRoom, Room
from kaas_pool.front.mover_client import Lease, MoverClient
from kaas_pool.front.objects import GONE, object_id
from kaas_pool.front.sightings import Answer, Stored
from kaas_pool.front.ticket import Ticket
from kaas_pool.front.work import Input, Output, render
from kaas_pool.front.writes import Promise, Share, Writes
from kaas_pool.printed import printed_lines

#: What an executor has, after the budget's end, to stop working for an attempt before it is killed. An endless kernel
#: thus ends within the 2 s after the budget that docs/numbers.md (P9) allows.
ABORT_SECONDS = 1.0


@dataclass
class Counts:
    """Where an attempt's inputs were found, and what came from the store, in bytes."""

    device_hits: int = 0
    host_hits: int = 0
    misses: int = 0
    bytes_loaded: int = 0


@dataclass(frozen=True)
class Tools:
    """What attempts work with."""

    executors: Executors
    mover: MoverClient
    bundles: Bundles
    room: HostRoom
    writes: Writes


@dataclass(eq=False)
class Attempt:
    """`go` brings the invocation to its result; `retire` gives back what is still held, and must follow it always.

    `free_slot` is called once, as soon as the device does not work for the attempt any more.
    """

    ticket: Ticket
    device: str
    tools: Tools
    free_slot: Callable[[], None]
    counts: Counts = field(default_factory=Counts)
    #: What the executor measured.
    stats: dict[str, Any] = field(default_factory=dict)
    computed: float = 0.0
    #: An input of which the store has not the wanted version any more.
    gone: ObjectRange | None = None
    _executor: Executor | None = None
    _reserved: int | None = None
    _run: Run | None = None
    _adopted: bool = False
    _has_slot: bool = True
    _room: Room | None = None
    #: Segments for the outputs, by buffer.
    _results: dict[str, Lease] = field(default_factory=dict)
    #: Leases of inputs that the executor is copying, by content key.
    _inputs: dict[str, Lease | Share] = field(default_factory=dict)

    async def go(self) -> dict[str, Any]:
        """The invocation's result. Raises KaasError."""
        work, life = self.ticket.work, self.ticket.life
        life.printed = ()
        own: dict[str, str] = {}
        if work.in_place and (life.attempts > 1 or life.rerun or self.ticket.recovered):
            own = await self._own_writes()
            if len(own) == len(work.in_place) and not work.inline:
                return self._result(await self._etags_of_all(own), {})
            if own and life.rerun:
                # Its inputs were looked at anew, so no condition of the store's would keep it from changing them twice.
                raise CallerError(
                    "object_changed",
                    f"an earlier run of this call has changed {' and '.join(sorted(own))} in place, and got no further",
                    hint="put the objects back as they were, and call under another id",
                )
        run = await self._start()
        done = await self._until_done(run)
        self._leave_device()
        self.stats = dict(done.get("stats", {}))
        self.computed = self._now()
        life.move("storing", self.computed, "computed")
        inline = done.get("inline", {})
        if self.ticket.admitted.ack == "device" and work.outputs:
            found = self.ticket.admitted.found
            promise = await self.tools.writes.promise(life, self.ticket.domain, work.outputs, found.origin)
            if promise is not None:
                # Nothing is awaited from here to the invocation's end, so that both happen or none.
                self._acknowledge(run, promise)
                return self._result({output.buffer.name: promise.version for output in work.outputs}, inline, "version")
        etags = await self._store(run, own) if work.outputs else {}
        return self._result(etags, inline)

    async def retire(self) -> None:
        """Give everything back, once the executor is through with it or dead. Raises nothing."""
        run, executor = self._run, self._executor
        if run is not None and executor is not None:
            if not run.is_over:
                executor.drop(run)
                await self._wait_until_over(run, executor)
            elif self.ticket.work.outputs and not self._adopted:
                executor.drop(run)
            executor.forget(run)
        self._leave_device()
        for lease in self._results.values():
            lease.release()
        for held in self._inputs.values():
            held.release(mapped=True)  # A copy to the device that nobody waits for any more may be under way.
        if self._room is not None:
            self.tools.room.give_back(self._room)
        if executor is not None:
            self.tools.executors.release(executor)

    def _leave_device(self) -> None:
        if self._executor is not None and self._reserved is not None:
            self.tools.executors.unreserve(self._executor, self._reserved)
            self._reserved = None
        if self._has_slot:
            self._has_slot = False
            self.free_slot()

    def _now(self) -> float:
        return time.monotonic()

    # Running.

    async def _start(self) -> Run:
        work, ticket = self.ticket.work, self.ticket
        try:
            executor = self._executor = await self.tools.executors.acquire(self.device, ticket.domain)
        except PlatformError as error:
            if error.code != "device_unavailable":
                raise
            # Another device, or this one a little later, may have an executor that starts.
            raise PlatformError("executor_lost", error.message, hint=error.hint) from error
        await self.tools.executors.reserve(executor, work.memory)
        self._reserved = work.memory
        if not executor.knows(work.digest):
            await self._send_bundle(executor)
        places: list[dict[str, Any]] = []
        descriptors: list[int] = []
        if work.outputs:
            self._room = await self.tools.room.take(work.result_pages, work.largest_input)
            await together(*(self._alloc(output) for output in work.outputs))
            for index, output in enumerate(work.outputs):
                name, lease = output.buffer.name, self._results[output.buffer.name]
                places.append({"buffer": name, "size": output.buffer.nbytes, "segment": lease.segment, "fd": index})
                descriptors.append(lease.descriptor)
        for name, buffer in work.inline.items():
            places.append({"buffer": name, "size": buffer.nbytes})
        inv = f"{ticket.life.name}/{ticket.life.attempts}"
        if not executor.is_alive:
            raise PlatformError("executor_lost", f"the executor of device {self.device} died")
        frame: Frame = {**work.run, "inv": inv, "outputs": places}
        if ticket.shared:
            frame["scrub"] = True
        if ticket.life.attempts > 1:
            # What killed an executor may do so again: nobody else shall be on it then.
            frame["alone"] = True
        self._run = executor.run(frame, descriptors)
        ticket.life.move("computing", self._now(), "given to the executor")
        return self._run

    async def _send_bundle(self, executor: Executor) -> None:
        assert executor.facts is not None
        target, digest = self.tools.bundles.target(executor.facts), self.ticket.work.digest
        bundle = await self.tools.bundles.images(digest, target)
        if executor.knows(digest):
            return  # Another attempt was faster.
        images = bundle.image_frames(target)
        try:
            executor.send_bundle(digest, bundle.text, images)
        finally:
            for _, descriptor in images:
                os.close(descriptor)

    async def _alloc(self, output: Output) -> None:
        lease = await self.tools.mover.alloc(self.ticket.domain, output.buffer.nbytes)
        self._results[output.buffer.name] = lease

    async def _until_done(self, run: Run) -> Frame:
        """Follow the executor's frames and bring what it asks for, until it is done."""
        life, inputs = self.ticket.life, self.ticket.work.inputs
        needed: set[str] = set()
        loads: set[asyncio.Task[None]] = set()
        coming: asyncio.Task[Frame] | None = None
        try:
            while True:
                if not loads and coming is None:
                    frame = await run.next()
                else:
                    coming = coming or asyncio.ensure_future(run.next())
                    await asyncio.wait({coming, *loads}, return_when=asyncio.FIRST_COMPLETED)
                    for load in [load for load in loads if load.done()]:
                        loads.discard(load)
                        load.result()
                    if not loads and life.stage == "loading":
                        life.move("computing", self._now(), "inputs loaded")
                    if not coming.done():
                        continue
                    frame, coming = coming.result(), None
                if "printed" in frame:
                    life.printed = printed_lines(frame["printed"], time.time())
                if frame["type"] == "failed":
                    raise KaasError.from_json(frame["error"])
                if frame["type"] == "done":
                    break
                if frame["type"] == "copied":
                    # Held until the end, the inputs of several attempts could fill the host tier and wait in a circle.
                    if (lease := self._inputs.pop(frame["key"], None)) is not None:
                        lease.release()
                    continue
                asked = [inputs[key] for key in dict.fromkeys(frame["keys"])]
                needed.update(one.key for one in asked)
                if life.stage == "computing":
                    size = sum(one.size for one in asked)
                    life.move("loading", self._now(), f"loading {len(asked)} inputs, {size} bytes")
                loads.update(asyncio.ensure_future(self._supply(run, one)) for one in asked)
        finally:
            if loads or coming is not None:
                await give_up(*loads, *([coming] if coming is not None else []))
        self.counts.device_hits = sum(one.is_object and one.key not in needed for one in inputs.values())
        return frame

    async def _supply(self, run: Run, one: Input) -> None:
        assert self._executor is not None
        if isinstance(one.origin, bytes):
            self._executor.supply_data(run, one.key, one.origin)
        elif isinstance(one.origin, BundleFile):
            descriptor = await self.tools.bundles.open_file(self.ticket.work.digest, one.origin.path)
            try:
                self._executor.supply(run, one.key, one.origin.offset, one.size, descriptor)
            finally:
                os.close(descriptor)
        else:
            await self._supply_object(self._executor, run, one, one.origin)

    async def _supply_object(self, executor: Executor, run: Run, one: Input, item: ObjectRange) -> None:
        tenant = self.ticket.life.tenant
        source = self.tools.writes.source(tenant, object_id(item), item)
        lease: Lease | Share
        if isinstance(source, Share):
            lease = source
        else:
            try:
                lease = await self.tools.mover.load(tenant, self.ticket.domain, source)
            except KaasError as error:
                if error.code in GONE:
                    self.gone = item
                raise
        if (earlier := self._inputs.get(one.key)) is not None:
            earlier.release(mapped=True)  # An executor that asks twice gets it twice, and holds it once.
        self._inputs[one.key] = lease
        if isinstance(lease, Lease) and lease.source == "store":
            self.counts.misses += 1
            self.counts.bytes_loaded += one.size
        else:
            self.counts.host_hits += 1
        executor.supply(run, one.key, lease.offset, lease.size, lease.descriptor)

    async def _wait_until_over(self, run: Run, executor: Executor) -> None:
        patience = max(self.ticket.life.deadline - self._now(), 0.0) + ABORT_SECONDS
        with contextlib.suppress(KaasError):
            over = asyncio.ensure_future(_until_over(run))
            await asyncio.wait({over}, timeout=patience)
            if not over.done():
                executor.kill(f"it still works for {run.name}, whose budget is spent")
            await over

    # Storing.

    def _acknowledge(self, run: Run, promise: Promise) -> None:
        """Hand the results over to those who store them."""
        assert self._executor is not None
        assert self._room is not None
        keys = self.tools.writes.begin(promise, self._results, self._room)
        self._results, self._room = {}, None
        self._executor.adopt(run, keys)
        self._adopted = True

    async def _store(self, run: Run, own: dict[str, str]) -> dict[str, str]:
        """PUT all results; returns etags by buffer. In-place ones come last, so that one found after a crash says that
        all others had been stored."""
        assert self._executor is not None
        etags: dict[str, str] = {}
        keys: dict[str, str] = {}

        async def store(output: Output) -> None:
            name, header = output.buffer.name, base64.b64encode(output.header).decode()
            # What was acknowledged before this goes first.
            await self.tools.writes.settled(self.ticket.life.tenant, output.reference)
            try:
                etag, origin = await self.tools.mover.store(
                    self.ticket.life.tenant,
                    self._results[name],
                    output.buffer.nbytes,
                    header,
                    output.object,
                    output.if_match,
                    self.ticket.life.id,
                )
            except KaasError as error:
                error.where = error.where or self.ticket.admitted.places[name]
                raise
            etags[name], keys[name] = etag, output.cache_key(origin, etag)
            answer = Answer(etag, len(output.header) + output.buffer.nbytes, header, origin)
            self.ticket.stored.append(Stored(output.reference, answer, self._now()))

        outputs = self.ticket.work.outputs
        await together(*(store(output) for output in outputs if output.if_match is None))
        await together(
            *(store(output) for output in outputs if output.if_match is not None and output.buffer.name not in own)
        )
        self._executor.adopt(run, keys)
        self._adopted = True
        return {**etags, **own}

    async def _own_writes(self) -> dict[str, str]:
        """In-place outputs that an earlier attempt has stored already: the etags of what it wrote."""
        work, life = self.ticket.work, self.ticket.life
        _, answers = await self.tools.mover.stat(life.tenant, [output.object for output in work.in_place], 0)
        return {
            output.buffer.name: str(answer["etag"])
            for output, answer in zip(work.in_place, answers, strict=True)
            if answer.get("activation") == life.id and (life.rerun or answer["etag"] != output.if_match)
        }

    async def _etags_of_all(self, own: dict[str, str]) -> dict[str, str]:
        others = [output for output in self.ticket.work.outputs if output.buffer.name not in own]
        if not others:
            return own
        _, answers = await self.tools.mover.stat(self.ticket.life.tenant, [output.object for output in others], 0)
        for answer in answers:
            if "error" in answer:
                raise KaasError.from_json(answer["error"])
        return {
            **own,
            **{output.buffer.name: str(answer["etag"]) for output, answer in zip(others, answers, strict=True)},
        }

    # The result.

    def _result(self, names: dict[str, str], inline: dict[str, str], kind: str = "etag") -> dict[str, Any]:
        """The result; `names` has each stored output's etag, or what else `kind` says."""
        work, life, now = self.ticket.work, self.ticket.life, self._now()
        result: dict[str, Any] = {}
        outputs: dict[str, Any] = {}
        for output in work.outputs:
            buffer = output.buffer
            result[buffer.name] = output.reference
            outputs[buffer.name] = {
                "ref": output.reference,
                kind: names[buffer.name],
                "dtype": buffer.dtype,
                "shape": list(buffer.shape),
                "bytes": buffer.nbytes,
            }
        for name, buffer in work.inline.items():
            result[name] = render(buffer, inline[name])
        computed = self.computed or now
        compute_ms = float(self.stats.get("compute_ms", 0.0))
        stats = {
            **{name: round(value, 3) for name, value in self.stats.items() if isinstance(value, (int, float))},
            "device": self.device,
            "queue_ms": _ms(life.granted - life.accepted),
            "load_ms": max(0.0, round(_ms(computed - life.granted) - compute_ms, 3)),
            "compute_ms": round(compute_ms, 3),
            "store_ms": _ms(now - computed) if work.outputs else 0.0,
            "gpu_ms": round(float(self.stats.get("gpu_ms", 0.0)), 3),
            "device_hits": self.counts.device_hits,
            "host_hits": self.counts.host_hits,
            "misses": self.counts.misses,
            "bytes_loaded": self.counts.bytes_loaded,
            "attempts": life.attempts,
        }
        if "rounds" in self.stats:
            stats["rounds"] = self.stats["rounds"]
        result["kaas"] = {"outputs": outputs, "stats": stats}
        return result


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)


async def _until_over(run: Run) -> None:
    while not run.is_over:
        await run.next()


async def together(*steps: Coroutine[Any, Any, None]) -> None:
    """Run steps side by side; when one fails the others are cancelled and awaited before its error is raised."""
    if len(steps) == 1:
        await steps[0]
        return
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        await asyncio.gather(*tasks)
    finally:
        await give_up(*tasks)


async def give_up(*tasks: asyncio.Future[Any]) -> None:
    """Cancel what is not done, and wait for it; errors are not raised."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
