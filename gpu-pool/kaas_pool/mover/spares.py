"""Memory of segments that are gone, kept for the next ones of the same trust domain. Pure.

Touching fresh pages costs more than the transfer that fills them: 1.1 s of processor time per GB on the machine where
it was measured (docs/numbers.md, P6), against 0.15 s for receiving as much from a socket.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

#: A spare of at most this much more than is needed is taken: what it is larger by is charged and idle.
_SLACK = 1 / 4


class Spare(NamedTuple):
    """The memory of a former segment. Inputs are sealed against writing, so only the mover can fill one again.

    `since` orders spares and cached inputs by when their use ended.
    """

    segment: str
    domain: str
    is_result: bool
    charge: int
    since: int

    def serves(self, domain: str, is_result: bool, charge: int) -> bool:
        """Whether it can be the memory of a segment of `charge` bytes."""
        same = self.domain == domain and self.is_result == is_result
        return same and charge <= self.charge <= charge + charge * _SLACK


class Spares:
    """Spares, the one longest kept first; `bytes` is the sum of their charges."""

    def __init__(self) -> None:
        self.bytes = 0
        self._spares: OrderedDict[str, Spare] = OrderedDict()

    def __len__(self) -> int:
        return len(self._spares)

    def add(self, spare: Spare) -> None:
        """Keep one."""
        self._spares[spare.segment] = spare
        self.bytes += spare.charge

    def take(self, domain: str, is_result: bool, charge: int) -> Spare | None:
        """The smallest that serves a segment of `charge` bytes, which is then no spare any more."""
        fitting = [spare for spare in self._spares.values() if spare.serves(domain, is_result, charge)]
        return self._remove(min(fitting, key=lambda spare: spare.charge)) if fitting else None

    @property
    def oldest(self) -> Spare:
        """The one that is kept for longest; there must be one."""
        return next(iter(self._spares.values()))

    def drop_oldest(self) -> Spare:
        """Give that one up."""
        return self._remove(self.oldest)

    def drop_domain(self, domain: str) -> list[Spare]:
        """Give up all of a domain."""
        return [self._remove(spare) for spare in list(self._spares.values()) if spare.domain == domain]

    def _remove(self, spare: Spare) -> Spare:
        self.bytes -= spare.charge
        return self._spares.pop(spare.segment)
