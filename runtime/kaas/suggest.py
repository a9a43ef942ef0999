"""The "did you mean" of every message: the known word nearest to a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable

#: Low enough for `nn` and `n`, high enough to keep `inner` from `iters`.
_NEAR = 0.65


def near(word: str, known: Iterable[str]) -> str | None:
    """Return the nearest of `known`, whatever its case, or None if nothing is near."""
    import difflib  # Only on the way to an error: importing it costs as much as the rest of a module here.

    lowered = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower()[:64], list(lowered), n=1, cutoff=_NEAR)
    return lowered[found[0]] if found else None


def suggest(word: str, known: Iterable[str]) -> str | None:
    """Return `did you mean 'x'?` for the nearest of `known`, or None if nothing is near."""
    found = near(word, known)
    return f"did you mean {found!r}?" if found is not None else None


def nearest(word: str, known: Iterable[str], count: int) -> list[str]:
    """Return the at most `count` of `known` that are near to `word`, the nearest first."""
    import difflib

    return difflib.get_close_matches(word[:256], [name for name in known if len(name) <= 256], n=count, cutoff=_NEAR)


def advise(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return the nearest word's suggestion, or `otherwise` followed by all of `known`."""
    names = list(known)
    return suggest(word, names) or (f"{otherwise}: {', '.join(names)}" if names else f"{otherwise}: none")
