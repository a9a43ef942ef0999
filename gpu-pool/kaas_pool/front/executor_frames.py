"""What an executor's frames look like. Its process runs other people's code, so each is checked before it is believed.

Pure. What it may lie about are the tenant's own results and timings; whatever else it says has to fit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from kaas.dtypes import shorten
from kaas_pool.frames import Frame

#: No count of bytes, and no measured time, is larger; sums of some millions of them stay exact.
_MOST = 1 << 62

#: A content key has 64 characters, that of a bundle's file its path besides (docs/contracts.md, "Frames").
_MAX_KEY = 1024
_MAX_TEXT = 1 << 16
#: Numbers that one invocation's statistics have, and loops whose rounds they count.
_MAX_STATS = 64
_MAX_LOOPS = 4096


def check_frame(frame: Frame) -> None:
    """Raise ValueError for a frame that no executor sends."""
    check = _CHECKS.get(frame["type"])
    if check is None:
        raise ValueError("an executor does not send it")
    try:
        check(frame)
    except KeyError as missing:
        raise ValueError(f"it has no {missing}") from None


def check_answer(frame: Frame, inputs: Collection[str], inline: Collection[str]) -> None:
    """Raise ValueError where a frame about an attempt names what the attempt does not have.

    `inputs` are the content keys of its inputs, `inline` the buffers that come back by value.
    """
    if frame["type"] == "need":
        _require(all(key in inputs for key in frame["keys"]), "keys that are no inputs")
    elif frame["type"] == "done":
        _require(all(name in frame["inline"] for name in inline), "an inline output is missing")


def _need(frame: Frame) -> None:
    _text(frame["inv"])
    _list(frame["keys"], _key)


def _copied(frame: Frame) -> None:
    _text(frame["inv"])
    _key(frame["key"])


def _done(frame: Frame) -> None:
    _text(frame["inv"])
    stats = _map(frame.setdefault("stats", {}), _MAX_STATS)
    for name, value in stats.items():
        if name == "rounds":
            _list(value, _count, _MAX_LOOPS)
        elif name == "device_hits":
            _list(value, _key)
        else:
            _amount(value)
    for text in _map(frame.setdefault("inline", {})).values():
        _require(isinstance(text, str), "an inline output is no text")
    _printed(frame)


def _failed(frame: Frame) -> None:
    _text(frame["inv"])
    _require(isinstance(frame.get("fatal", False), bool), "fatal is true or false")
    error = _map(frame["error"])
    for name in ("code", "message"):
        _text(error[name])
    for name in ("hint", "where", "activation"):
        if error.get(name) is not None:
            _text(error[name])
    if error.get("retry_after_ms") is not None:
        _count(error["retry_after_ms"])
    _printed(frame)


def _printed(frame: Frame) -> None:
    printed = _map(frame.get("printed", {}))
    if printed and not printed.get("crowded"):
        _require(isinstance(printed["text"], str), "what was printed is no text")
        _count(printed["left_out"])


def _usage(frame: Frame) -> None:
    _count(frame["bytes"])
    _count(frame.get("pinned", 0))
    _list(frame.get("evicted", []), _key)
    _list(frame.get("added", []), _resident)


def _hello(frame: Frame) -> None:
    _text(frame["name"])
    _count(frame["memory_bytes"])
    _list(frame["compute_capability"], _count)
    _require(len(frame["compute_capability"]) == 2, "a compute capability has two numbers")
    _list(frame.get("resident", []), _resident)


_CHECKS: Mapping[Any, Callable[[Frame], None]] = {
    "need": _need,
    "copied": _copied,
    "done": _done,
    "failed": _failed,
    "usage": _usage,
    "hello": _hello,
}


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


def _text(value: object, most: int = _MAX_TEXT) -> None:
    _require(isinstance(value, str) and len(value) <= most, "no text, or too long a one")


def _key(value: object) -> None:
    _text(value, _MAX_KEY)


def _count(value: object) -> None:
    _require(value.__class__ is int and 0 <= value <= _MOST, f"{shorten(value)} is no count")


def _amount(value: object) -> None:
    _require(value.__class__ in (int, float) and 0 <= value <= _MOST, f"{shorten(value)} is no amount")


def _list(value: object, check: Callable[[object], None], most: int | None = None) -> None:
    if not isinstance(value, list) or (most is not None and len(value) > most):
        raise ValueError("no list, or too long a one")
    for one in value:
        check(one)


def _map(value: object, most: int | None = None) -> Mapping[str, Any]:
    if not isinstance(value, dict) or (most is not None and len(value) > most):
        raise ValueError("no object, or too large a one")
    return value


def _resident(value: object) -> None:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("no key and size")
    _key(value[0])
    _count(value[1])
