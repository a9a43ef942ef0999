"""What the store said about objects, and when. Pure: times are arguments, in seconds of one monotonic clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

#: The time of a sighting that is not to be relied on any more.
NEVER = float("-inf")

#: What all recent sightings may hold, in bytes of heads and so much for each itself.
RECENT_BYTES = 32 << 20
_ENTRY_BYTES = 512


@dataclass(frozen=True)
class Answer:
    """One object as the store showed it to a tenant.

    `size` in bytes; `head` is base64 of its first bytes; `origin` is the mover's name of the store, part of cache keys.
    Of what was acknowledged before its PUT `etag` is the version, and `head` the format's header.
    """

    etag: str
    size: int
    head: str
    origin: str
    is_version: bool = False

    def to_json(self) -> dict[str, Any]:
        """What the journal keeps."""
        fields = {"etag": self.etag, "size": self.size, "head": self.head, "origin": self.origin}
        return {**fields, "version": True} if self.is_version else fields

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Answer:
        """The inverse of `to_json`."""
        etag, head, origin = (str(data[name]) for name in ("etag", "head", "origin"))
        return Answer(etag, int(data["size"]), head, origin, bool(data.get("version", False)))


@dataclass(eq=False)
class Sighting:
    """An answer and when it was last confirmed. Who computed something from it keeps it, and looks at `at` again."""

    answer: Answer
    at: float

    def is_younger(self, seconds: float, now: float) -> bool:
        """Whether the store said so within the last `seconds`."""
        return self.at > now - seconds

    def confirm(self, at: float, origin: str) -> None:
        """The store said the same again."""
        self.at = max(self.at, at)
        if self.answer.origin != origin:
            self.answer = Answer(self.answer.etag, self.answer.size, self.answer.head, origin)

    def doubt(self) -> None:
        """Let nobody rely on it any more."""
        self.at = NEVER


class Stored(NamedTuple):
    """An object as a PUT left it, and when it was answered. The head of `answer` is the header that was written."""

    object_id: str
    answer: Answer
    at: float


class Recent:
    """The latest sightings by tenant and object id; the least recently used go first."""

    def __init__(self, limit_bytes: int = RECENT_BYTES) -> None:
        self._limit = limit_bytes
        self._bytes = 0
        self._sightings: OrderedDict[tuple[str, str], Sighting] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sightings)

    def find(self, tenant: str, object_id: str) -> Sighting | None:
        """What this tenant last saw of an object."""
        found = self._sightings.get((tenant, object_id))
        if found is not None:
            self._sightings.move_to_end((tenant, object_id))
        return found

    def note(self, tenant: str, object_id: str, answer: Answer, at: float) -> Sighting:
        """Remember what the store said at `at`, unless something newer is known; then nobody may rely on the answer."""
        known = self._sightings.get((tenant, object_id))
        if known is not None and known.answer.etag == answer.etag:
            known.confirm(at, answer.origin)
            self._sightings.move_to_end((tenant, object_id))
            return known
        if known is not None and known.at > at:
            return Sighting(answer, NEVER)
        self.forget(tenant, object_id)
        noted = self._sightings[tenant, object_id] = Sighting(answer, at)
        self._bytes += _size(noted)
        while self._bytes > self._limit and len(self._sightings) > 1:
            self.forget(*next(iter(self._sightings)))
        return noted

    def forget(self, tenant: str, object_id: str | None = None) -> None:
        """Let go of one object, or of all of the tenant's."""
        if object_id is None:
            keys = [key for key in self._sightings if key[0] == tenant]
        else:
            keys = [(tenant, object_id)]
        for key in keys:
            gone = self._sightings.pop(key, None)
            if gone is not None:
                gone.doubt()
                self._bytes -= _size(gone)


def _size(sighting: Sighting) -> int:
    return len(sighting.answer.head) + _ENTRY_BYTES
