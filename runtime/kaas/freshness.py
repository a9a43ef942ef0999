"""How fresh the object behind a reference must be: `always`, `max_age=SECONDS` or `pinned`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from kaas.suggest import advise

#: One year: what is meant to live longer is pinned.
MAX_AGE_SECONDS = 31_536_000

_WORDS: tuple[Literal["always", "pinned"], ...] = ("always", "pinned")
_MAX_AGE = "max_age="
_SECONDS = re.compile(r"[0-9]{1,17}(\.[0-9]{0,17})?|\.[0-9]{1,17}")


@dataclass(frozen=True)
class Freshness:
    """`always`: the store is asked at every call. `pinned`: resolved once per action, buffer and reference.

    `max_age`: the store's last answer is used again while it is younger than `seconds`, which is 0 for the others.
    """

    kind: Literal["always", "max_age", "pinned"]
    seconds: float = 0.0

    @staticmethod
    def parse(text: object) -> Freshness:
        """Read `always`, `pinned` or `max_age=SECONDS`; raises ValueError with the reason and what to write."""
        for word in _WORDS:
            if text == word:
                return Freshness(word)
        if not isinstance(text, str):
            raise ValueError("it is 'always', 'pinned' or 'max_age=SECONDS'")
        if not text.startswith(_MAX_AGE):
            raise ValueError(advise(text, [*_WORDS, f"{_MAX_AGE}SECONDS"], "it is one of"))
        number = text[len(_MAX_AGE) :]
        seconds = float(number) if _SECONDS.fullmatch(number) else 0.0
        if not 0 < seconds <= MAX_AGE_SECONDS:
            raise ValueError(f"seconds are a decimal number over 0 and at most {MAX_AGE_SECONDS}, as in max_age=30")
        return Freshness("max_age", seconds)

    def __str__(self) -> str:
        return f"max_age={self.seconds:.15g}" if self.kind == "max_age" else self.kind


ALWAYS = Freshness("always")
PINNED = Freshness("pinned")
