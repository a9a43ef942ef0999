"""Pinned references: each resolved once, then the same version until its tenant says otherwise.

A pin holds for a (tenant, bundle, buffer, reference). It is a `Sighting` whose time says when the store last confirmed
that the tenant may read that version. Pure: times are arguments, in seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from kaas.errors import KaasError
from kaas.references import Reference
from kaas_pool.front.sightings import NEVER, Answer, Sighting

#: Pins of one tenant; beyond it the one not used for longest is let go, so no tenant can take another's.
PER_TENANT = 10_000


class PinKey(NamedTuple):
    """What is pinned, for whom, where. `digest` is the bundle's."""

    tenant: str
    digest: str
    buffer: str
    reference: str


@dataclass(frozen=True)
class PinFilter:
    """Which pins are meant: all that agree with what is not None.

    A `reference` to a whole object means all its parts, too.
    """

    digest: str | None = None
    buffer: str | None = None
    reference: str | None = None

    @property
    def object_id(self) -> str | None:
        """The object that `reference` is a part of."""
        return None if self.reference is None else object_id_of(self.reference)

    def covers(self, key: PinKey) -> bool:
        """Whether this pin is meant, given that it is of the object."""
        return (
            self.digest in (None, key.digest)
            and self.buffer in (None, key.buffer)
            and self.reference in (None, key.reference, self.object_id)
        )


def object_id_of(reference: str) -> str:
    """The id of the whole object that a reference is a part of; the text itself if it is no reference."""
    try:
        return Reference.parse(reference, "reference").object_id
    except KaasError:
        return reference


class _Own:
    """One tenant's pins, the least recently used first, and by object."""

    def __init__(self) -> None:
        self.pins: OrderedDict[PinKey, Sighting] = OrderedDict()
        self.by_object: dict[str, set[PinKey]] = {}


class Pins:
    """All pins, by tenant. A pin of an earlier front counts as not confirmed yet."""

    def __init__(self, per_tenant: int = PER_TENANT) -> None:
        self._limit = per_tenant
        self._tenants: dict[str, _Own] = {}
        self._generations: Counter[str] = Counter()

    def generation(self, tenant: str) -> int:
        """A number that `forget` changes: what was asked before it must not be pinned after it."""
        return self._generations[tenant]

    def restore(self, key: PinKey, answer: Answer) -> None:
        """Take over a pin from the journal."""
        self.add(key, answer, NEVER)

    def find(self, key: PinKey) -> Sighting | None:
        """The version that is pinned, if one is."""
        own = self._tenants.get(key.tenant)
        if own is None or key not in own.pins:
            return None
        own.pins.move_to_end(key)
        return own.pins[key]

    def add(self, key: PinKey, answer: Answer, at: float) -> Sighting:
        """Pin what the store said at `at`."""
        own = self._tenants.setdefault(key.tenant, _Own())
        pin = own.pins[key] = Sighting(answer, at)
        own.by_object.setdefault(object_id_of(key.reference), set()).add(key)
        return pin

    def overdue(self, tenant: str) -> list[PinKey]:
        """Let go of the pins that a tenant has too many; returns them."""
        own = self._tenants.get(tenant, _Own())
        return [self._drop(next(iter(own.pins)))[0] for _ in range(len(own.pins) - self._limit)]

    def remove(self, key: PinKey) -> None:
        """Let go of one pin, there or not."""
        if self.find(key) is not None:
            self._drop(key)

    def doubt(self, tenant: str, object_id: str) -> None:
        """The store said something about an object that its pins must be held against before their next use."""
        own = self._tenants.get(tenant, _Own())
        for key in own.by_object.get(object_id, ()):
            own.pins[key].doubt()

    def forget(self, tenant: str, which: PinFilter) -> dict[PinKey, Answer]:
        """Let go of a tenant's pins; returns them."""
        self._generations[tenant] += 1
        own = self._tenants.get(tenant, _Own())
        keys = own.pins.keys() if which.object_id is None else own.by_object.get(which.object_id, ())
        return dict([self._drop(key) for key in list(keys) if which.covers(key)])

    def _drop(self, key: PinKey) -> tuple[PinKey, Answer]:
        own = self._tenants[key.tenant]
        pin = own.pins.pop(key)
        pin.doubt()
        object_id = object_id_of(key.reference)
        own.by_object[object_id].remove(key)
        if not own.by_object[object_id]:
            del own.by_object[object_id]
        if not own.pins:
            del self._tenants[key.tenant]
        return key, pin.answer
