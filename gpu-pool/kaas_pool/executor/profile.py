"""How long the operations of one invocation took on the device: in all by step, and one by one as far as wanted."""

from __future__ import annotations

from dataclasses import dataclass, field

from kaas_pool.operations import Launch


@dataclass
class Row:
    """What one step did, over all its rounds. `nbytes` counts, for one run of it, the size of each buffer that it
    reads and of each that it writes, whole, whatever the kernel touches of it."""

    kind: str
    name: str
    #: Where the manifest has it; empty for what follows from no step of its own.
    where: str
    nbytes: int
    count: int = 0
    milliseconds: float = 0.0


@dataclass(frozen=True)
class Span:
    """One run on a stream, in milliseconds since the beginning of the first stream's work."""

    row: Row
    lane: int
    begin: float
    end: float
    launch: Launch | None


@dataclass
class Profile:
    """Filled while an invocation runs; spans are kept up to `most_spans`, the first ones."""

    most_spans: int = 0
    #: When the run was handed over, in monotonic seconds.
    begun: float = 0.0
    #: In the order in which they ran first.
    rows: list[Row] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    #: Spans beyond those.
    left_out: int = 0

    def add(self, row: Row, milliseconds: float, span: Span) -> None:
        """One more run of a row."""
        row.count += 1
        row.milliseconds += milliseconds
        if len(self.spans) < self.most_spans:
            self.spans.append(span)
        else:
            self.left_out += 1
