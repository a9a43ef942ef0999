"""From a request to bound work: parse the call, fix the versions of its inputs, bind, check that it can run at all."""

from __future__ import annotations

import asyncio
import base64
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kaas.binding import ObjectInfo, bind
from kaas.call import Call
from kaas.errors import CallerError, KaasError
from kaas.manifest import Ack
from kaas.messages import LogLine
from kaas.references import Reference
from kaas.remarks import remarks
from kaas_pool.content import ObjectRange
from kaas_pool.front.bundles import Bundles
from kaas_pool.front.heads import Heads
from kaas_pool.front.objects import GONE, REFRESH_HINT, Found, Objects, Read, object_id
from kaas_pool.front.sightings import Answer
from kaas_pool.front.work import Work

#: Work of calls that read nothing but constants and values, for the same call again.
_REMEMBERED = 4096
#: ... if they carry no more than so many bytes of values, so that the memory stays some 40 MB.
_REMEMBERED_INLINE = 4096


#: Longer headers are read in a thread, in bytes: the largest take a good part of a second.
_READ_ASIDE = 64 << 10

#: The kinds of freshness without a number.
_MAX_AGES = {"always": 0.0, "pinned": math.inf}


@dataclass(frozen=True, eq=False)
class Admitted:
    """What acceptance fixed."""

    work: Work
    found: Found
    ack: Ack
    #: Where the call gives each stored output its place, by buffer.
    places: Mapping[str, str]
    #: What is to be said of the call.
    remarks: tuple[str, ...]

    @property
    def objects(self) -> dict[str, Any]:
        """The versions of the inputs by object id, as the journal keeps them."""
        return {name: answer.to_json() for name, answer in self.found.answers.items()}

    def notes(self) -> tuple[LogLine, ...]:
        """What the pool has to say to the caller about the call, as of now."""
        return tuple([LogLine.at(time.time(), "stderr", f"kaas: {remark}") for remark in self.remarks])


class Admission:
    """Turns requests into work. `capacity` gives the most device memory one invocation can have, once it is known."""

    def __init__(self, bundles: Bundles, objects: Objects, heads: Heads, capacity: Callable[[], int | None]) -> None:
        self._bundles = bundles
        self._objects = objects
        self._heads = heads
        self._capacity = capacity
        self._remembered: OrderedDict[tuple[str, str], Admitted] = OrderedDict()

    def again(self, tenant: str, digest: str, fingerprint: str) -> Admitted | None:
        """The same call's result of before, if no object it reads has to be looked at again."""
        if self._bundles.recent(tenant, digest) is None:
            return None
        admitted = self._remembered.get((tenant, fingerprint))
        return admitted if admitted is not None and admitted.found.holds() else None

    async def admit(
        self,
        tenant: str,
        identifier: str,
        fingerprint: str,
        digest: str,
        arguments: Mapping[str, Any],
        objects: Mapping[str, Any] | None = None,
    ) -> Admitted:
        """Bind a call; raises KaasError. `objects` are the versions that an earlier acceptance fixed, by object id."""
        bundle = self._bundles.recent(tenant, digest) or await self._bundles.get(tenant, digest)
        call = Call.parse(bundle.manifest, arguments, activation_id=identifier)
        fixed = {name: Answer.from_json(answer) for name, answer in (objects or {}).items()}
        found, infos = await self._look(tenant, digest, call, fixed)
        if sum(len(info.head) for info in infos.values()) > _READ_ASIDE:
            binding = await asyncio.to_thread(bind, bundle.manifest, call, infos, bundle.layouts)
        else:
            binding = bind(bundle.manifest, call, infos, bundle.layouts)
        work = Work.of(digest, binding, bundle.device_bytes(binding), found.origin or tenant)
        self._check_size(work)
        places = {output.buffer.name: call.where(output.buffer.name) for output in work.outputs}
        admitted = Admitted(work, found, call.ack, places, remarks(bundle.manifest, arguments, call))
        repeatable = found.grounds is not None and all(name in arguments for name in call.writes)
        if repeatable and work.inline_bytes <= _REMEMBERED_INLINE:
            self._remembered[tenant, fingerprint] = admitted
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return admitted

    async def renew(
        self,
        tenant: str,
        identifier: str,
        fingerprint: str,
        digest: str,
        arguments: Mapping[str, Any],
        admitted: Admitted,
        item: ObjectRange,
        error: KaasError,
    ) -> Admitted:
        """Bind a call again because the store refused the version of `item` with `error`.

        Raises KaasError, `error` itself where no other version would do.
        """
        changed = object_id(item)
        self._objects.doubt(tenant, changed)
        if changed in admitted.found.pinned and error.code == "object_changed":
            raise CallerError(error.code, error.message, where=error.where, hint=REFRESH_HINT)
        if changed not in admitted.found.renewable:
            raise error
        others = {name: answer for name, answer in admitted.objects.items() if name != changed}
        return await self.admit(tenant, identifier, fingerprint, digest, arguments, others)

    async def _look(
        self, tenant: str, digest: str, call: Call, fixed: Mapping[str, Answer]
    ) -> tuple[Found, dict[str, ObjectInfo]]:
        """The versions of a call's objects, and of each the first bytes that binding needs."""
        reads = _reads(call)
        doubted = set(fixed)
        while True:
            found = await self._objects.look(tenant, digest, reads, fixed)
            infos = {
                name: ObjectInfo(answer.etag, answer.size, base64.b64decode(answer.head))
                for name, answer in found.answers.items()
            }
            for name, read in {read.reference.object_id: read for read in reads if read.reference.tensor}.items():
                try:
                    head = await self._heads.enough(tenant, read.reference, found.answers[name], infos[name].head)
                except KaasError as error:
                    if error.code not in GONE or name in doubted:
                        raise KaasError.from_json({"where": read.where, **error.to_json()}) from error
                    # It has changed since the store was asked, and nothing is accepted yet.
                    self._objects.doubt(tenant, name)
                    doubted.add(name)
                    break
                infos[name] = replace(infos[name], head=head)
            else:
                return found, infos

    def _check_size(self, work: Work) -> None:
        capacity = self._capacity()
        if capacity is not None and work.memory > capacity:
            raise CallerError(
                "device_out_of_memory",
                f"the invocation needs {work.memory} bytes of device memory at once; a device has {capacity} to give",
                hint="give it smaller inputs, or work on them in parts",
            )


def _reads(call: Call) -> list[Read]:
    """The inputs of a call that are references."""
    reads: list[Read] = []
    written = {target.object_id for target in call.writes.values() if isinstance(target, Reference)}
    for name, source in call.reads.items():
        if isinstance(source, Reference):
            freshness = call.freshness[name]
            max_age = _MAX_AGES.get(freshness.kind, freshness.seconds)
            # What is changed in place is the newest, whatever an earlier result says.
            is_in_place = call.writes.get(name) is source
            known = None if is_in_place else call.versions.get(source.object_id)
            promised = None if is_in_place else call.promised.get(source.object_id)
            settled = source.object_id in written
            reads.append(Read(name, source, max_age, call.where(name), known, promised, settled))
    return reads
