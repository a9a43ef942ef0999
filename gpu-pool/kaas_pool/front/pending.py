"""Outputs that were acknowledged before their PUT (docs/contracts.md, "Acknowledged before the PUT").

Which version of an object its tenant sees, which of them are lost, which the journal has to know of, and how many there
may be. Pure: times are arguments, in seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from typing import Literal

from kaas.errors import KaasError, PlatformError
from kaas_pool.front.sightings import Answer, Sighting

#: How long it is known what became of a version, in seconds.
KEEP_SECONDS = 3600.0

#: Ended writes of one tenant that are kept. Beyond it the oldest that was stored goes; of those that were lost none
#: may, so with so many of them nothing more is acknowledged early.
PER_TENANT = 10_000

#: What may be under way: outputs of one tenant, and parts of the host tier of one tenant and of all.
TENANT_WRITES = 256
_TENANT_SHARE = 4
_SHARE = 2

State = Literal["pending", "stored", "lost"]
_Object = tuple[str, str]


@dataclass(eq=False)
class Write:
    """One output of a tenant that was acknowledged before its PUT. `size` in bytes of the host tier."""

    tenant: str
    object_id: str
    version: str
    size: int
    #: What the tenant sees of the object, the version in the etag's place; good until another is seen.
    sighting: Sighting
    state: State = "pending"
    #: What the PUT returned.
    etag: str | None = None
    #: Why it is lost; None if an earlier front was told and this one was not.
    why: KaasError | None = None
    ended: float = 0.0


class Pending:
    """All such writes, by tenant. What is done to a write must fit its state; the driver sees to that."""

    def __init__(self, per_tenant: int = PER_TENANT) -> None:
        self._limit = per_tenant
        self._under_way: dict[_Object, deque[Write]] = {}
        #: The lost write that an object's latest one is, until something takes its place.
        self._marks: dict[_Object, Write] = {}
        #: All by object and version, the first to end first.
        self._known: dict[str, OrderedDict[tuple[str, str], Write]] = {}
        self._gone: list[Write] = []
        self._bytes: Counter[str] = Counter()
        self._writes: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()

    # ***** room *****

    def reserve(self, tenant: str, sizes: list[int], capacity: int) -> bool:
        """Take room for writes of these sizes in a host tier of `capacity` bytes, or none."""
        size = sum(sizes)
        fits = (
            self._writes[tenant] + len(sizes) <= min(TENANT_WRITES, self._limit - self._lost[tenant])
            and self._bytes[tenant] + size <= capacity // _TENANT_SHARE
            and self._bytes.total() + size <= capacity // _SHARE
        )
        if fits:
            self._writes[tenant] += len(sizes)
            self._bytes[tenant] += size
        return fits

    def free(self, tenant: str, sizes: list[int]) -> None:
        """Give room back."""
        self._writes[tenant] -= len(sizes)
        self._bytes[tenant] -= sum(sizes)
        if not self._writes[tenant]:
            del self._writes[tenant], self._bytes[tenant]

    # ***** writes *****

    def begin(self, tenant: str, object_id: str, answer: Answer, size: int, now: float) -> Write:
        """An output is acknowledged; `answer` has the version in the etag's place."""
        write = Write(tenant, object_id, answer.etag, size, Sighting(answer, now))
        queue = self._under_way.setdefault((tenant, object_id), deque())
        if queue:
            queue[-1].sighting.doubt()
        queue.append(write)
        self._known.setdefault(tenant, OrderedDict())[object_id, write.version] = write
        return write

    def newest(self, tenant: str, object_id: str) -> Write | None:
        """What the tenant sees of an object whose store is behind."""
        queue = self._under_way.get((tenant, object_id))
        return queue[-1] if queue else None

    def stored(self, write: Write, etag: str, now: float) -> bool:
        """The PUT of the first write of its object has ended well; whether the object is what was written."""
        write.etag = etag
        is_newest = self._end(write, "stored", now)
        self._gone.append(write)
        self.overwritten(write.tenant, write.object_id)
        return is_newest

    def lost(self, write: Write, why: KaasError, now: float) -> None:
        """The first write of its object will not be stored."""
        write.why = why
        self._lost[write.tenant] += 1
        if self._end(write, "lost", now):
            self._mark(write)
        else:
            self._gone.append(write)

    def find(self, tenant: str, object_id: str, version: str) -> Write | None:
        """The write of a version, if it is known."""
        known = self._known.get(tenant)
        return known.get((object_id, version)) if known is not None else None

    def mark(self, tenant: str, object_id: str) -> Write | None:
        """The lost write that stands between the tenant and what the store has."""
        return self._marks.get((tenant, object_id))

    def found(self, tenant: str, object_id: str, version: str, etag: str, now: float) -> None:
        """The store has a version that is not known, or counted as lost."""
        write = self.find(tenant, object_id, version)
        if write is None:
            write = Write(tenant, object_id, version, 0, _never(version))
        elif write.state == "lost":
            self._lost[tenant] -= 1
        write.state, write.etag, write.ended = "stored", etag, now
        self._keep(write)
        mark = self._marks.get((tenant, object_id))
        if mark is not None and mark.version == version:
            self._unmark(mark)

    def overwritten(self, tenant: str, object_id: str) -> None:
        """The tenant has written the object anew: nothing that was lost of it stands in the way any more."""
        mark = self._marks.get((tenant, object_id))
        if mark is not None:
            self._unmark(mark)

    def forget(self, tenant: str, object_id: str | None) -> None:
        """Let the tenant see what the store has of one object, or of all."""
        for mark in [mark for mark in self._marks.values() if mark.tenant == tenant]:
            if object_id in (None, mark.object_id):
                self._unmark(mark)

    def restore(self, tenant: str, object_id: str, version: str, at: float) -> None:
        """Take over what an earlier front left under way or lost, those of one object in order."""
        write = Write(tenant, object_id, version, 0, _never(version), "lost", ended=at)
        self._lost[tenant] += 1
        self._keep(write)
        self._mark(write)

    def expire(self, now: float) -> None:
        """Let go of what ended over an hour ago."""
        for tenant, known in list(self._known.items()):
            old = [write for write in known.values() if write.state != "pending" and write.ended <= now - KEEP_SECONDS]
            for write in old:
                self._drop(write)
            if not known:
                del self._known[tenant]

    def take_gone(self) -> list[Write]:
        """The writes that the journal need not know any more, each once."""
        gone, self._gone = self._gone, []
        return gone

    def _end(self, write: Write, state: State, now: float) -> bool:
        """Whether it was the newest of its object."""
        key = (write.tenant, write.object_id)
        queue = self._under_way[key]
        first = queue.popleft()
        assert first is write
        write.state, write.ended = state, now
        write.sighting.doubt()
        self._keep(write)
        if not queue:
            del self._under_way[key]
        return not queue

    def _keep(self, write: Write) -> None:
        known = self._known.setdefault(write.tenant, OrderedDict())
        known[write.object_id, write.version] = write
        known.move_to_end((write.object_id, write.version))
        if len(known) > self._limit:
            oldest = next((one for one in known.values() if one.state == "stored"), None)
            if oldest is not None:
                self._drop(oldest)

    def _drop(self, write: Write) -> None:
        del self._known[write.tenant][write.object_id, write.version]
        if write.state == "lost":
            self._lost[write.tenant] -= 1
        if self._marks.get((write.tenant, write.object_id)) is write:
            self._unmark(write)

    def _mark(self, write: Write) -> None:
        self.overwritten(write.tenant, write.object_id)
        self._marks[write.tenant, write.object_id] = write

    def _unmark(self, mark: Write) -> None:
        del self._marks[mark.tenant, mark.object_id]
        self._gone.append(mark)


def output_lost(object_id: str, version: str, where: str | None, write: Write | None) -> PlatformError:
    """What whoever uses a version is told that is not in the store; `write` is what is known of it."""
    if write is None:
        message = f"{object_id} is not, or not any more, what version {version[:200]!r} says: it may have been lost"
    else:
        why = "the pool was restarted before its PUT ended" if write.why is None else write.why.message
        message = f"{object_id} was acknowledged as version {version!r} before its PUT, and lost: {why}"
    mend = write.why.hint if write is not None and write.why is not None and write.why.row.blame == "caller" else None
    hint = "run the action that makes it again; `kaas cache refresh` goes on with what the store has"
    return PlatformError("output_lost", message, where=where, hint=f"{mend}. Then {hint}" if mend else hint)


def _never(version: str) -> Sighting:
    sighting = Sighting(Answer(version, 0, "", ""), 0.0)
    sighting.doubt()
    return sighting
