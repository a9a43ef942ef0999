"""Looking at the objects of a call: which version each input gets, by its freshness, and under whose rights.

*always* asks the store every time; *max_age* uses what the store said to this tenant not long ago; *pinned* uses the
version that was found the first time. Whatever is used without asking, the store has confirmed within the authorisation
lifetime that the tenant may read it.
"""

from __future__ import annotations

import base64
import contextlib
import math
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kaas.errors import CallerError, KaasError
from kaas.formats import HEAD_BYTES
from kaas.references import Reference, Scheme
from kaas_pool.content import ObjectRange
from kaas_pool.front.journal import Journal, Pin, unwritable
from kaas_pool.front.mover_client import MoverClient, MoverLost
from kaas_pool.front.pending import output_lost
from kaas_pool.front.pins import PinFilter, PinKey, Pins, object_id_of
from kaas_pool.front.sightings import Answer, Recent, Sighting, Stored
from kaas_pool.front.writes import Writes

#: What to do about a pinned object that is not what it was.
REFRESH_HINT = "`kaas cache refresh` (POST /v1/cache/refresh) lets go of pinned versions; the next call pins anew"

#: Errors of a load that say that the object is not what the look before it found.
GONE = frozenset({"object_changed", "object_not_found"})

#: A request of the mover that was lost with it is made again this often.
_STAT_ATTEMPTS = 3

#: Sightings, and for how many seconds each is good.
_Grounds = tuple[tuple[Sighting, float], ...]


@dataclass(frozen=True)
class Read:
    """An input that is a reference, and its place in errors. `max_age` in seconds: 0 is always, infinity is pinned.

    `known` is the etag that came with the call, from an earlier result. It is the caller's word, so it saves a look
    only if this tenant has itself seen or written that version lately. `promised` is the version that came so of an
    output that was acknowledged before its PUT. `settled`: the etag is needed, as for a conditional PUT.
    """

    buffer: str
    reference: Reference
    max_age: float
    where: str
    known: str | None = None
    promised: str | None = None
    settled: bool = False

    @property
    def is_pinned(self) -> bool:
        """Whether it stays at the version that was found first."""
        return self.max_age == math.inf


@dataclass(frozen=True, eq=False)
class Found:
    """What is known of a call's objects, by id, and what it rests on."""

    answers: dict[str, Answer]
    #: None if the store has to be asked every time.
    grounds: _Grounds | None
    #: The objects of which any version serves.
    renewable: frozenset[str]
    pinned: frozenset[str]

    @property
    def origin(self) -> str | None:
        """The mover's latest name of the tenant's store; None without objects."""
        return next(reversed(self.answers.values())).origin if self.answers else None

    def holds(self) -> bool:
        """Whether the same call may use the same answers again now."""
        if self.grounds is None:
            return False
        now = time.monotonic()
        return all(sighting.is_younger(seconds, now) for sighting, seconds in self.grounds)


@dataclass(eq=False)
class _Object:
    """One object and all that is read of it."""

    reference: Reference
    pins: dict[PinKey, Read] = field(default_factory=dict)
    others: list[Read] = field(default_factory=list)
    #: The version that its pins agreed on before the store was asked; None where one was missing.
    pinned: Answer | None = None

    @property
    def where(self) -> str:
        return next(iter((*self.pins.values(), *self.others))).where


class Objects:
    """What tenants' calls see of the store. `authorisation` is for how many seconds a right, once seen, is believed."""

    def __init__(self, mover: MoverClient, journal: Journal, writes: Writes, authorisation: float) -> None:
        self._mover = mover
        self._journal = journal
        self._writes = writes
        self._authorisation = authorisation
        self._recent = Recent()
        self._pins = Pins()
        for pin in journal.pins():
            key = PinKey(pin.tenant, pin.digest, pin.buffer, pin.reference)
            self._pins.restore(key, Answer.from_json(pin.answer))
        writes.report_stored(lambda tenant, stored: self.written(tenant, [stored.object_id], [stored]))

    async def look(self, tenant: str, digest: str, reads: Sequence[Read], fixed: Mapping[str, Answer]) -> Found:
        """Find the version of each object that is read; `fixed` are those decided already. Raises KaasError."""
        reads, fixed, promised = await self._promised(tenant, reads, fixed)
        objects: dict[str, _Object] = {}
        for read in reads:
            one = objects.setdefault(read.reference.object_id, _Object(read.reference.whole()))
            if read.is_pinned:
                one.pins[PinKey(tenant, digest, read.buffer, str(read.reference))] = read
            else:
                one.others.append(read)
        said: dict[str, Answer] = {}
        while True:
            generation, at = self._pins.generation(tenant), time.monotonic()
            known = {
                name: promised.get(name) or self._known(tenant, name, one, at)
                for name, one in objects.items()
                if name not in fixed
            }
            asked = {name: objects[name] for name, found in known.items() if found is None}
            if asked:
                said = await self._ask(tenant, asked)
            # What was asked before a refresh may be what the refresh was to get rid of.
            if generation == self._pins.generation(tenant):
                break
        answers = dict(fixed)
        grounds: list[tuple[Sighting, float]] = []
        for name, found in known.items():
            if found is not None:
                answers[name] = found[0][0].answer
                grounds += found
        fresh: list[PinKey] = []
        for name, answer in said.items():
            answers[name] = answer
            grounds += self._confirm(tenant, name, asked[name], answer, at, fresh)
        if fresh:
            await self._keep(fresh, answers)
        always = bool(fixed) or any(read.max_age == 0 for read in reads)
        return Found(
            answers,
            None if always else tuple(grounds),
            frozenset(
                name
                for name, one in objects.items()
                if not one.pins and (known.get(name) is not None or all(read.max_age > 0 for read in one.others))
            ),
            frozenset(name for name, one in objects.items() if one.pins),
        )

    async def refresh(self, tenant: str, which: PinFilter) -> int:
        """Let go of a tenant's pins, and of what was seen of the objects lately; returns the number of pins."""
        gone = self._pins.forget(tenant, which)
        self._recent.forget(tenant, which.object_id)
        if which.digest is None and which.buffer is None:
            self._writes.forget(tenant, which.object_id)
        try:
            if gone:
                await self._journal.unpin(list(gone))
        except sqlite3.Error as error:
            # On disk they still are, and whoever tries again has to find them.
            for key, answer in gone.items():
                self._pins.restore(key, answer)
            raise unwritable(error) from error
        return len(gone)

    def written(self, tenant: str, object_ids: Iterable[str], stored: Iterable[Stored]) -> None:
        """The tenant may have written these objects: what was seen of them is out of date, and `stored` is known."""
        for name in object_ids:
            self._recent.forget(tenant, name)
        for one in stored:
            self._recent.note(tenant, one.object_id, one.answer, one.at)
        self._writes.overwritten(tenant, [one.object_id for one in stored])

    def doubt(self, tenant: str, object_id: str) -> None:
        """The store has said that an object is not what it was: ask before anything of it is used again."""
        self._recent.forget(tenant, object_id)
        self._pins.doubt(tenant, object_id)

    async def _promised(
        self, tenant: str, reads: Sequence[Read], fixed: Mapping[str, Answer]
    ) -> tuple[list[Read], dict[str, Answer], dict[str, list[tuple[Sighting, float]]]]:
        """Decide about what was acknowledged before its PUT.

        Returns the reads with the etags that their versions stand for, what is fixed still, and by object id what is
        seen of those whose PUTs have not ended. Raises `output_lost` and the store's errors.
        """
        account = self._writes.account
        # What an earlier front fixed at a version, this one has to look for.
        strange = {
            name: answer.etag
            for name, answer in fixed.items()
            if answer.is_version
            and ((write := account.find(tenant, name, answer.etag)) is None or write.state == "lost")
        }
        fixed = {name: answer for name, answer in fixed.items() if name not in strange}
        by_object: dict[str, list[Read]] = {}
        for read in reads:
            if read.reference.object_id not in fixed:
                by_object.setdefault(read.reference.object_id, []).append(read)
        while (behind := self._behind(tenant, by_object)) is not None:
            await self._writes.settled(tenant, behind)
        seen: dict[str, list[tuple[Sighting, float]]] = {}
        doubtful: list[tuple[Read, str]] = []
        for name, group in by_object.items():
            promised = strange.get(name) or next((read.promised for read in group if read.promised is not None), None)
            claimed = account.find(tenant, name, promised) if promised is not None else None
            is_lost = promised is not None and (claimed is None or claimed.state == "lost")
            newest, mark = account.newest(tenant, name), account.mark(tenant, name)
            if newest is not None and claimed is not None and claimed.state == "lost":
                raise output_lost(name, claimed.version, group[0].where, claimed)
            if newest is not None:
                seen[name] = [(newest.sighting, self._authorisation)]
                continue
            if mark is not None:
                doubtful.append((group[0], mark.version))
            if is_lost and promised is not None and (mark is None or mark.version != promised):
                doubtful.append((group[0], promised))
        if doubtful:
            await self._verify(tenant, doubtful)
        return [self._with_etag(tenant, read) for read in reads], fixed, seen

    def _behind(self, tenant: str, by_object: Mapping[str, Sequence[Read]]) -> str | None:
        """An object whose PUT has to be waited for."""
        for name, group in by_object.items():
            newest = self._writes.account.newest(tenant, name)
            if newest is not None:
                header = len(base64.b64decode(newest.sighting.answer.head))
                for read in group:
                    in_header = read.reference.offset is not None and read.reference.offset < header
                    if read.is_pinned or read.settled or in_header or read.reference.tensor is not None:
                        return name
        return None

    async def _verify(self, tenant: str, doubtful: Sequence[tuple[Read, str]]) -> None:
        """Have the store say that objects are certain versions. Raises `output_lost` where one is not."""
        _, answers = await self._stat(tenant, [read.reference.whole() for read, _ in doubtful], 0)
        for (read, version), said in zip(doubtful, answers, strict=True):
            name = read.reference.object_id
            write = self._writes.account.find(tenant, name, version)
            code = said["error"].get("code") if "error" in said else None
            # Where the store refused the PUT, it may refuse the look too, and the PUT is what the caller has to mend.
            was_refused = write is not None and write.why is not None and write.why.code == code
            if code not in (None, "object_not_found", "bucket_not_found") and not was_refused:
                raise KaasError.from_json({"where": read.where, **said["error"]})
            if said.get("activation") != version:
                raise output_lost(name, version, read.where, write)
            self._writes.found(tenant, name, version, str(said["etag"]))

    def _with_etag(self, tenant: str, read: Read) -> Read:
        if read.promised is None or read.known is not None:
            return read
        write = self._writes.account.find(tenant, read.reference.object_id, read.promised)
        return read if write is None or write.etag is None else replace(read, known=write.etag)

    def _known(self, tenant: str, name: str, one: _Object, now: float) -> list[tuple[Sighting, float]] | None:
        """What makes it needless to ask the store about an object; None if it has to be asked."""
        pins = [self._pins.find(key) for key in one.pins]
        versions = {pin.answer.etag for pin in pins if pin is not None}
        one.pinned = (
            pins[0].answer if pins and pins[0] is not None and None not in pins and len(versions) == 1 else None
        )
        found = [(pin, self._authorisation) for pin in pins]
        if one.others:
            recent = self._recent.find(tenant, name)
            found.append((recent, self._seconds(recent, *one.others)))
        grounds = [
            (sighting, seconds)
            for sighting, seconds in found
            if sighting is not None and sighting.is_younger(seconds, now)
        ]
        agree = len({sighting.answer.etag for sighting, _ in grounds}) == 1
        return grounds if agree and len(grounds) == len(found) else None

    def _seconds(self, sighting: Sighting | None, *reads: Read) -> float:
        """For how long a sighting serves all of these."""
        etag = sighting.answer.etag if sighting is not None else None
        ages = (math.inf if read.known is not None and read.known == etag else read.max_age for read in reads)
        return min(self._authorisation, *ages)

    async def _ask(self, tenant: str, asked: Mapping[str, _Object]) -> dict[str, Answer]:
        """The store's answers by object id. Raises its errors, and `object_changed` for another version of a pin."""
        # Of what is pinned only the rights are in question, and they need no bytes.
        bare = all(one.pinned is not None and not one.others for one in asked.values())
        origin, found = await self._stat(tenant, [one.reference for one in asked.values()], 0 if bare else HEAD_BYTES)
        answers: dict[str, Answer] = {}
        for (name, one), said in zip(asked.items(), found, strict=True):
            if "error" in said:
                error = KaasError.from_json({"where": one.where, **said["error"]})
                if error.row.blame != "platform":
                    self.doubt(tenant, name)
                raise error
            etag = str(said["etag"])
            if not bare or one.pinned is None:
                answers[name] = Answer(etag, int(said["size"]), str(said["head"]), origin)
            elif etag == one.pinned.etag:
                answers[name] = replace(one.pinned, origin=origin)
            else:
                self.doubt(tenant, name)
                raise _changed(next(iter(one.pins.values())), one.pinned.etag, etag)
        return answers

    def _confirm(
        self, tenant: str, name: str, one: _Object, answer: Answer, at: float, fresh: list[PinKey]
    ) -> list[tuple[Sighting, float]]:
        """Hold an object's pins against what the store said at `at`; those that lack are made, and added to `fresh`.

        Raises `object_changed`.
        """
        pins = {key: self._pins.find(key) for key in one.pins}
        for key, pin in pins.items():
            if pin is not None and pin.answer.etag != answer.etag:
                self.doubt(tenant, name)
                raise _changed(one.pins[key], pin.answer.etag, answer.etag)
        grounds: list[tuple[Sighting, float]] = []
        for key, pin in pins.items():
            if pin is None:
                pin = self._pins.add(key, answer, at)
                fresh.append(key)
            pin.confirm(at, answer.origin)
            grounds.append((pin, self._authorisation))
        recent = self._recent.note(tenant, name, answer, at)
        return [*grounds, (recent, self._seconds(recent, *one.others))] if one.others else grounds

    async def _keep(self, keys: Sequence[PinKey], answers: Mapping[str, Answer]) -> None:
        """Write new pins to disk, before anybody computes with them."""
        pins = [Pin(*key, answers[object_id_of(key.reference)].to_json()) for key in keys]
        try:
            await self._journal.pin(pins, self._pins.overdue(keys[0].tenant))
        except sqlite3.Error as error:
            for key in keys:
                self._pins.remove(key)
            raise unwritable(error) from error

    async def _stat(
        self, tenant: str, references: Sequence[Reference], head_bytes: int
    ) -> tuple[str, list[dict[str, Any]]]:
        objects = [_named(reference) for reference in references]
        for _ in range(_STAT_ATTEMPTS - 1):
            with contextlib.suppress(MoverLost):
                return await self._mover.stat(tenant, objects, head_bytes)
        return await self._mover.stat(tenant, objects, head_bytes)


def object_id(item: ObjectRange) -> str:
    """The `Reference.object_id` of the object that a range is of."""
    scheme: Scheme = "s3" if item.scheme == "s3" else "file"
    return Reference(scheme, item.bucket, item.key, item.version).object_id


def _named(reference: Reference) -> dict[str, Any]:
    fields = {"scheme": reference.scheme, "bucket": reference.bucket, "key": reference.key}
    return fields if reference.version is None else {**fields, "version": reference.version}


def _changed(read: Read, pinned: str, found: str) -> CallerError:
    return CallerError(
        "object_changed",
        f"{read.buffer!r} is pinned to {read.reference} with the etag {pinned}, and the object's is {found} now",
        where=read.where,
        hint=REFRESH_HINT,
    )
