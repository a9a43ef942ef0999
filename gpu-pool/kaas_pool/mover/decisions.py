"""What the host tier decides, for the mover to carry out in order, and who asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from kaas.errors import KaasError
from kaas_pool.content import ObjectRange

Source = Literal["host", "store"]


class Request(NamedTuple):
    """Who asks (a connection) and the id of the asking frame."""

    holder: int
    id: str | int


@dataclass(frozen=True)
class Create:
    """Make the segment's memory, out of that of the former segment `spare` if one is named."""

    segment: str
    size: int
    result: bool
    spare: str | None = None


@dataclass(frozen=True)
class StartLoad:
    """Fill the segment under this tenant's rights; `loaded` or `load_failed` must follow."""

    segment: str
    tenant: str
    item: ObjectRange


@dataclass(frozen=True)
class AbortLoad:
    """Nobody waits for this load any more; `loaded` or `load_failed` must still follow."""

    segment: str


@dataclass(frozen=True)
class Grant:
    """Answer a request: it now leases the segment. `source` is None for results.

    "store" is said to the one request that a transfer was made for, "host" to all others.
    """

    request: Request
    segment: str
    size: int
    source: Source | None


@dataclass(frozen=True)
class Refuse:
    """Answer a request with an error."""

    request: Request
    error: KaasError


@dataclass(frozen=True)
class Free:
    """Give the segment's memory back; it may have been a spare."""

    segment: str


@dataclass(frozen=True)
class Keep:
    """The segment is gone; its memory is a spare now."""

    segment: str


Decision = Create | StartLoad | AbortLoad | Grant | Refuse | Free | Keep
