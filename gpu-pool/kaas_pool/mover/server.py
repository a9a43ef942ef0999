"""The mover's loop: frames in, host-tier decisions carried out, frames out (docs/contracts.md, "front → mover")."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from kaas.errors import CallerError, KaasError, PlatformError
from kaas_pool.content import ObjectRange, content_key
from kaas_pool.frames import AsyncLink, Frame, Link
from kaas_pool.mover.cancellation import Cancellation, Cancelled
from kaas_pool.mover.decisions import AbortLoad, Create, Decision, Free, Grant, Refuse, Request, StartLoad
from kaas_pool.mover.host_tier import HostTier
from kaas_pool.mover.segments import Segment
from kaas_pool.mover.stores.store import ObjectHead, ObjectName
from kaas_pool.mover.tenants import Tenants
from kaas_pool.mover.workers import Workers

_log = logging.getLogger("kaas.mover")


class _Peer:
    """One connection; `epoch` is set by its first frame."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.epoch: object = None
        self.link: AsyncLink | None = None


class Mover:
    """Serves fronts. Everything here runs in the loop's thread; only store I/O runs in the workers."""

    def __init__(self, tenants: Tenants, tier: HostTier, workers: Workers, boot: str) -> None:
        self._tenants = tenants
        self._tier = tier
        self._workers = workers
        self._boot = boot
        self._peers: dict[int, _Peer] = {}
        self._accepted = 0
        self._memory: dict[str, Segment] = {}
        #: Transfers into segments, by segment.
        self._loads: dict[str, Cancellation] = {}
        #: Stats and stores under way, by request: one token per object.
        self._running: dict[Request, list[Cancellation]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._puts: set[asyncio.Task[None]] = set()
        self._draining = False
        self._counts = {"stats": 0, "stores": 0, "bytes_stored": 0}
        self._handlers: Mapping[str, Callable[[_Peer, Frame], None]] = {
            "stat": self._on_stat,
            "load": self._on_load,
            "alloc": self._on_alloc,
            "store": self._on_store,
            "cancel": self._on_cancel,
            "release": self._on_release,
            "purge": self._on_purge,
            "status": self._on_status,
        }

    def accept(self, link: Link) -> None:
        """Serve a new connection until its end; what it leased and asked for ends with it."""
        self._accepted += 1
        peer = self._peers[self._accepted] = _Peer(self._accepted)
        peer.link = AsyncLink(
            link,
            lambda frame, descriptors: self._on_frame(peer, frame, descriptors),
            lambda reason: self._on_close(peer, reason),
        )

    async def drain(self, seconds: float) -> None:
        """Refuse new work and wait for the PUTs under way, at most so long."""
        self._draining = True
        if self._puts:
            await asyncio.wait(self._puts, timeout=seconds)

    # Frames

    def _on_frame(self, peer: _Peer, frame: Frame, descriptors: list[int]) -> None:
        assert peer.link is not None
        for descriptor in descriptors:
            os.close(descriptor)
        kind = frame["type"]
        if kind == "hello" and peer.epoch is None and frame.get("epoch") is not None:
            self._on_hello(peer, frame["epoch"])
            return
        handler = self._handlers.get(kind)
        if handler is None or peer.epoch is None:
            peer.link.close(f"unexpected frame {kind!r}")
            return
        try:
            handler(peer, frame)
        except KaasError as error:
            self._answer_error(Request(peer.number, frame["id"]), error)
        except (KeyError, TypeError, ValueError) as error:
            _log.exception("a malformed %s frame", kind)
            if not isinstance(frame.get("id"), (str, int)):
                peer.link.close(f"malformed frame {kind!r}")
                return
            text = f"the mover cannot read a {kind} frame: {type(error).__name__} {error}"
            self._answer_error(Request(peer.number, frame["id"]), PlatformError("internal", text))

    def _on_hello(self, peer: _Peer, epoch: object) -> None:
        assert peer.link is not None
        peer.epoch = epoch
        for other in list(self._peers.values()):
            if other.epoch is not None and other.epoch != epoch and other.link is not None:
                other.link.close("a front of another epoch has come")
                self._forget(other)
        peer.link.send({"type": "hello", "epoch": epoch, "boot": self._boot, "host_bytes": self._tier.budget_bytes})

    def _on_close(self, peer: _Peer, reason: str) -> None:
        # What never said hello is a probe that looks whether somebody listens, every few seconds.
        level = logging.DEBUG if peer.epoch is None else logging.INFO
        _log.log(level, "connection %d ended: %s", peer.number, reason)
        self._forget(peer)

    def _forget(self, peer: _Peer) -> None:
        if self._peers.pop(peer.number, None) is None:
            return
        for request, tokens in self._running.items():
            if request.holder == peer.number:
                _cancel(tokens)
        self._carry_out(self._tier.gone(peer.number))

    def _on_stat(self, peer: _Peer, frame: Frame) -> None:
        request, tenant = self._new_request(peer, frame), _text(frame, "tenant")
        names = [_object_name(entry) for entry in frame["objects"]]
        head_bytes = _count(frame, "head_bytes")
        self._counts["stats"] += len(names)
        tokens = self._running[request] = [Cancellation() for _ in names]
        self._spawn(self._stat(request, tenant, names, head_bytes, tokens))

    async def _stat(
        self,
        request: Request,
        tenant: str,
        names: Sequence[ObjectName],
        head_bytes: int,
        tokens: Sequence[Cancellation],
    ) -> None:
        async def one(name: ObjectName, token: Cancellation) -> dict[str, Any]:
            try:
                store = self._tenants.store(tenant, name.scheme)
                head = await self._workers.run(tenant, token, lambda: store.stat(name, head_bytes, token))
            except KaasError as error:
                return {"error": error.to_json()}
            return _head_fields(head)

        try:
            results = await asyncio.gather(*(one(name, token) for name, token in zip(names, tokens, strict=True)))
            answer: Frame = {"type": "stat", "origin": self._tenants.origin(tenant), "objects": results}
        except Cancelled:
            answer = _error_frame(_cancelled("looking at objects"))
        except Exception as error:
            answer = _error_frame(_defect("stat", error))
        finally:
            del self._running[request]
        self._answer(request, answer)

    def _on_load(self, peer: _Peer, frame: Frame) -> None:
        request, tenant = self._new_request(peer, frame), _text(frame, "tenant")
        item = _object_range(frame["object"])
        self._refuse_if_draining()
        self._tenants.store(tenant, item.scheme)
        key = content_key(self._tenants.origin(tenant), item)
        self._carry_out(self._tier.load(request, tenant, _text(frame, "domain"), key, item))

    def _on_alloc(self, peer: _Peer, frame: Frame) -> None:
        request = self._new_request(peer, frame)
        self._refuse_if_draining()
        self._carry_out(self._tier.alloc(request, _text(frame, "domain"), _count(frame, "size")))

    def _on_store(self, peer: _Peer, frame: Frame) -> None:
        request, tenant = self._new_request(peer, frame), _text(frame, "tenant")
        name, segment, size = _object_name(frame["object"]), _text(frame, "segment"), _count(frame, "size")
        header = base64.b64decode(frame["header"], validate=True)
        if_match, activation = frame.get("if_match"), _text(frame, "activation")
        self._refuse_if_draining()
        memory = self._memory.get(segment)
        if memory is None or size > memory.size or not self._tier.hold(peer.number, segment):
            raise ValueError(f"segment {segment} is no leased result of {size} bytes")
        token = Cancellation()

        def put() -> str:
            with memory.readable(size) as body:
                return store.write(name, header, body, if_match, activation, token)

        try:
            store = self._tenants.store(tenant, name.scheme)
        except KaasError:
            self._carry_out(self._tier.unhold(segment))
            raise
        self._running[request] = [token]
        task = self._spawn(self._store(request, tenant, segment, len(header) + size, put, token))
        self._puts.add(task)
        task.add_done_callback(self._puts.discard)

    async def _store(
        self, request: Request, tenant: str, segment: str, size: int, put: Callable[[], str], token: Cancellation
    ) -> None:
        origin = self._tenants.origin(tenant)
        try:
            etag = await self._workers.run(tenant, token, put)
            answer: Frame = {"type": "stored", "etag": etag, "origin": origin}
            self._counts["stores"] += 1
            self._counts["bytes_stored"] += size
        except Cancelled:
            answer = _error_frame(_cancelled("storing results"))
        except KaasError as error:
            answer = _error_frame(error)
        except Exception as error:
            answer = _error_frame(_defect("store", error))
        finally:
            del self._running[request]
            self._carry_out(self._tier.unhold(segment))
        self._answer(request, answer)

    def _on_cancel(self, peer: _Peer, frame: Frame) -> None:
        request = Request(peer.number, frame["id"])
        _cancel(self._running.get(request, ()))
        self._carry_out(self._tier.cancel(request))

    def _on_release(self, peer: _Peer, frame: Frame) -> None:
        names, mapped = ([str(name) for name in frame[key]] for key in ("segments", "mapped"))
        self._carry_out(self._tier.release(peer.number, names, mapped))

    def _on_purge(self, peer: _Peer, frame: Frame) -> None:
        request = self._new_request(peer, frame)
        freed, decisions = self._tier.purge(_text(frame, "domain"))
        self._carry_out(decisions)
        self._answer(request, {"type": "purged", "bytes": freed})

    def _on_status(self, peer: _Peer, frame: Frame) -> None:
        request, tier, counts = self._new_request(peer, frame), self._tier, self._tier.counts
        self._answer(
            request,
            {
                "type": "status",
                "host_bytes": tier.budget_bytes,
                "used_bytes": tier.used_bytes,
                "idle_bytes": tier.idle_bytes,
                "spare_bytes": tier.spare_bytes,
                "segments": tier.segments,
                "waiting": tier.waiting,
                "loading": len(self._loads),
                "storing": len(self._puts),
                "hits": counts.hits,
                "misses": counts.misses,
                "coalesced": counts.coalesced,
                "evictions": counts.evictions,
                "reused": counts.reused,
                "bytes_loaded": counts.bytes_loaded,
                **self._counts,
            },
        )

    def _new_request(self, peer: _Peer, frame: Frame) -> Request:
        identifier = frame["id"]
        if not isinstance(identifier, (str, int)):
            raise TypeError("id is neither a string nor an integer")
        request = Request(peer.number, identifier)
        if request in self._running or self._tier.waits(request):
            raise ValueError(f"id {identifier!r} is in use")
        return request

    def _refuse_if_draining(self) -> None:
        if self._draining:
            raise PlatformError("pool_draining", "the mover is shutting down", hint="try again in a moment")

    # Decisions

    def _carry_out(self, decisions: Sequence[Decision]) -> None:
        pending = deque(decisions)
        while pending:
            decision = pending.popleft()
            if isinstance(decision, Create):
                self._create(decision)
            elif isinstance(decision, StartLoad):
                token = self._loads[decision.segment] = Cancellation()
                self._spawn(self._load(decision, token))
            elif isinstance(decision, AbortLoad):
                self._loads[decision.segment].cancel()
            elif isinstance(decision, Grant):
                pending.extend(self._grant(decision))
            elif isinstance(decision, Refuse):
                self._answer_error(decision.request, decision.error)
            elif isinstance(decision, Free):
                memory = self._memory.pop(decision.segment, None)
                if memory is not None:
                    memory.close()

    def _create(self, decision: Create) -> None:
        # A spare may lack its memory, too: making it may have failed.
        spare = self._memory.pop(decision.spare, None) if decision.spare is not None else None
        if spare is not None:
            spare.reuse(decision.segment, decision.size)
            self._memory[decision.segment] = spare
            return
        try:
            memory = self._memory[decision.segment] = Segment(decision.segment, decision.size)
        except OSError:
            # Whoever waits for it finds it missing.
            _log.exception("cannot make a segment of %d bytes", decision.size)
            return
        if decision.result:
            memory.seal_result()

    def _grant(self, decision: Grant) -> Sequence[Decision]:
        memory = self._memory.get(decision.segment)
        if memory is None:
            self._answer_error(decision.request, _no_memory(decision.size))
            return self._tier.release(decision.request.holder, [decision.segment])
        if decision.source is None:
            answer: Frame = {"type": "allocated", "segment": decision.segment}
        else:
            answer = {
                "type": "loaded",
                "segment": decision.segment,
                "offset": 0,
                "size": decision.size,
                "source": decision.source,
            }
        self._answer(decision.request, answer, [memory.descriptor])
        return ()

    async def _load(self, start: StartLoad, token: Cancellation) -> None:
        item, memory = start.item, self._memory.get(start.segment)

        def fill() -> None:
            assert memory is not None
            if item.size:
                with memory.writable() as into:
                    store.read(item, into, token)
            memory.seal_input()

        failure: KaasError | None = None
        complete = False
        try:
            if memory is None:
                raise _no_memory(item.size)
            store = self._tenants.store(start.tenant, item.scheme)
            await self._workers.run(start.tenant, token, fill)
            complete = True
        except Cancelled:
            pass
        except KaasError as error:
            failure = error
        except Exception as error:
            failure = _defect("load", error)
        del self._loads[start.segment]
        self._carry_out(
            self._tier.loaded(start.segment) if complete else self._tier.load_failed(start.segment, failure)
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _answer(self, request: Request, frame: Frame, descriptors: Sequence[int] = ()) -> None:
        peer = self._peers.get(request.holder)
        if peer is not None and peer.link is not None:
            peer.link.send({"id": request.id, **frame}, descriptors)

    def _answer_error(self, request: Request, error: KaasError) -> None:
        self._answer(request, _error_frame(error))


def _text(frame: Mapping[str, Any], name: str) -> str:
    value = frame[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is not a string")
    return value


def _count(frame: Mapping[str, Any], name: str) -> int:
    value = frame[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{name} is not a count")
    return value


def _object_name(entry: Mapping[str, Any]) -> ObjectName:
    version = _text(entry, "version") if entry.get("version") is not None else None
    return ObjectName(_text(entry, "scheme"), _text(entry, "bucket"), _text(entry, "key"), version)


def _object_range(entry: Mapping[str, Any]) -> ObjectRange:
    name = _object_name(entry)
    etag, offset, size = _text(entry, "etag"), _count(entry, "offset"), _count(entry, "size")
    return ObjectRange(name.scheme, name.bucket, name.key, etag, name.version, offset, size)


def _head_fields(head: ObjectHead) -> dict[str, Any]:
    fields: dict[str, Any] = {"etag": head.etag, "size": head.size, "head": base64.b64encode(head.head).decode()}
    if head.activation is not None:
        fields["activation"] = head.activation
    return fields


def _error_frame(error: KaasError) -> Frame:
    return {"type": "error", "error": error.to_json()}


def _cancel(tokens: Sequence[Cancellation]) -> None:
    for token in tokens:
        token.cancel()


def _cancelled(stage: str) -> KaasError:
    return CallerError("cancelled", f"given up while {stage}")


def _no_memory(size: int) -> KaasError:
    return PlatformError(
        "internal", f"the mover cannot make a segment of {size} bytes", hint="its log has the system's reason"
    )


def _defect(what: str, error: Exception) -> KaasError:
    _log.error("a defect in %s", what, exc_info=error)
    return PlatformError("internal", f"the mover failed in a {what}: {type(error).__name__}", hint="its log has more")
