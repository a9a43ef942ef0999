"""From a request to bound work: parse the call, fix the versions of its inputs, bind, check that it can run at all."""

from __future__ import annotations

import base64
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kaas.binding import ObjectInfo, bind
from kaas.call import Call
from kaas.errors import CallerError, KaasError
from kaas.formats import HEAD_BYTES
from kaas.messages import LogLine
from kaas.references import Reference
from kaas_pool.front.bundles import Bundles, OpenedBundle
from kaas_pool.front.journal import Journal, Pin
from kaas_pool.front.mover_client import MoverClient, MoverLost
from kaas_pool.front.work import Work

#: Pinned references in memory and in the journal.
_PINS = 100_000

#: Work of calls that read nothing but constants and values, for the same call again.
_REMEMBERED = 4096
#: ... if they carry no more than so many bytes of values, so that the memory stays some 40 MB.
_REMEMBERED_INLINE = 4096

#: A request of the mover that was lost with it is made again this often.
_STAT_ATTEMPTS = 3

_PinKey = tuple[str, str, str, str]


@dataclass(frozen=True, eq=False)
class Admitted:
    """What acceptance fixed. `objects` are the mover's answers by object id, with `origin`; what a journal keeps."""

    work: Work
    objects: Mapping[str, Any]
    #: Arguments that the action does not have.
    unknown: tuple[str, ...]

    def notes(self) -> tuple[LogLine, ...]:
        """What the pool has to say to the caller about the call, as of now."""
        if not self.unknown:
            return ()
        now = time.time()
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z"
        names = ", ".join(repr(name) for name in self.unknown[:8])
        return (LogLine(stamp, "stderr", f"kaas: the action has no use for {names}"),)


class Admission:
    """Turns requests into work. `capacity` gives the most device memory one invocation can have, once it is known."""

    def __init__(
        self, bundles: Bundles, mover: MoverClient, journal: Journal, capacity: Callable[[], int | None]
    ) -> None:
        self._bundles = bundles
        self._mover = mover
        self._journal = journal
        self._capacity = capacity
        self._pins: OrderedDict[_PinKey, dict[str, Any]] = OrderedDict(
            ((pin.tenant, pin.digest, pin.buffer, pin.reference), pin.answer) for pin in journal.pins()
        )
        self._remembered: OrderedDict[tuple[str, str], Admitted] = OrderedDict()

    def again(self, tenant: str, digest: str, fingerprint: str) -> Admitted | None:
        """The same call's result of before, if no object it reads has to be looked at again."""
        if self._bundles.recent(tenant, digest) is None:
            return None
        return self._remembered.get((tenant, fingerprint))

    async def admit(
        self,
        tenant: str,
        identifier: str,
        fingerprint: str,
        digest: str,
        arguments: Mapping[str, Any],
        objects: Mapping[str, Any] | None = None,
    ) -> Admitted:
        """Bind a call; raises KaasError. `objects` are the versions that an earlier acceptance fixed."""
        bundle = self._bundles.recent(tenant, digest) or await self._bundles.get(tenant, digest)
        call = Call.parse(bundle.manifest, arguments, activation_id=identifier)
        if objects is None:
            objects = await self._look(tenant, bundle, call)
        infos = {
            name: ObjectInfo(answer["etag"], answer["size"], base64.b64decode(answer["head"]))
            for name, answer in objects.items()
            if name != "origin"
        }
        binding = bind(bundle.manifest, call, infos, bundle.layouts)
        work = Work.of(digest, binding, bundle.private_copies(), objects.get("origin", tenant))
        self._check_size(work)
        admitted = Admitted(work, objects, call.unknown)
        if _is_repeatable(bundle, call, arguments) and work.inline_bytes <= _REMEMBERED_INLINE:
            self._remembered[tenant, fingerprint] = admitted
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return admitted

    def _check_size(self, work: Work) -> None:
        capacity = self._capacity()
        if capacity is not None and work.memory > capacity:
            raise CallerError(
                "device_out_of_memory",
                f"the invocation needs {work.memory} bytes of device memory at once; a device has {capacity} to give",
                hint="give it smaller inputs, or work on them in parts",
            )

    async def _look(self, tenant: str, bundle: OpenedBundle, call: Call) -> dict[str, Any]:
        """The store's answers for all objects of a call; constants by what they are pinned to."""
        readers: dict[str, list[str]] = {}
        pins: dict[str, list[_PinKey]] = {}
        for buffer, source in call.reads.items():
            if isinstance(source, Reference):
                readers.setdefault(source.object_id, []).append(buffer)
                if bundle.manifest.buffers[buffer].io == "const":
                    pins.setdefault(source.object_id, []).append((tenant, bundle.digest, buffer, str(source)))
        answers: dict[str, Any] = {}
        for name, keys in pins.items():
            pinned = self._pins.get(keys[0])
            # An object that is also an ordinary input has to be looked at anyway.
            if pinned is not None and len(readers[name]) == len(keys):
                answers[name] = pinned
        fresh = {name: reference for name, reference in call.objects.items() if name not in answers}
        if fresh:
            origin, found = await self._stat(tenant, list(fresh.values()))
            for name, answer in zip(fresh, found, strict=True):
                if "error" in answer:
                    raise _placed(answer["error"], readers[name][0])
                answers[name] = {"etag": answer["etag"], "size": answer["size"], "head": answer["head"]}
            answers["origin"] = origin
        for name, keys in pins.items():
            for key in keys:
                await self._pin(key, {**answers[name], "origin": answers.get("origin", tenant)})
        if fresh or not pins:
            return answers
        return {**answers, "origin": next(iter(answers.values())).get("origin", tenant)}

    async def _pin(self, key: _PinKey, answer: dict[str, Any]) -> None:
        pinned = self._pins.get(key)
        if pinned is None:
            self._pins[key] = answer
            await self._journal.pin(Pin(*key, answer))
            if len(self._pins) > _PINS:
                oldest, its_answer = self._pins.popitem(last=False)
                await self._journal.unpin(Pin(*oldest, its_answer))
        elif pinned["etag"] != answer["etag"]:
            raise CallerError(
                "object_changed",
                f"the constant {key[2]!r} is pinned to {key[3]} with etag {pinned['etag']}; it has {answer['etag']}",
                where=f"arguments.{key[2]}",
                hint="store another version under another key, or put the bundle up again with a change",
            )

    async def _stat(self, tenant: str, references: list[Reference]) -> tuple[str, list[dict[str, Any]]]:
        objects = [_named(reference) for reference in references]
        for _ in range(_STAT_ATTEMPTS - 1):
            with contextlib.suppress(MoverLost):
                return await self._mover.stat(tenant, objects, HEAD_BYTES)
        return await self._mover.stat(tenant, objects, HEAD_BYTES)


def _named(reference: Reference) -> dict[str, Any]:
    fields = {"scheme": reference.scheme, "bucket": reference.bucket, "key": reference.key}
    return fields if reference.version is None else {**fields, "version": reference.version}


def _placed(error: Mapping[str, Any], buffer: str) -> KaasError:
    return KaasError.from_json({"where": f"arguments.{buffer}", **error})


def _is_repeatable(bundle: OpenedBundle, call: Call, arguments: Mapping[str, Any]) -> bool:
    """Whether the same call gives the same work: it reads constants and values only and names all its outputs."""
    buffers = bundle.manifest.buffers
    return all(
        buffers[name].io == "const" or not isinstance(source, Reference) for name, source in call.reads.items()
    ) and all(name in arguments for name in call.writes)
