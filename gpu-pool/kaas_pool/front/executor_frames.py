"""What an executor's frames look like. Its process runs other people's code, so each is checked before it is believed.

Pure. What it may lie about are the tenant's own results, and timings within the time it had; whatever else it says has
to fit. Texts that people read are made harmless here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from kaas.dtypes import shorten
from kaas_pool.frames import Frame
from kaas_pool.printed import harmless

#: No count of bytes, and no measured time, is larger.
_MOST = 1 << 62

#: A content key has 64 characters, that of a bundle's file its path besides (docs/contracts.md, "Frames").
_MAX_KEY = 1024
_MAX_TEXT = 1 << 16
#: Loops whose rounds are counted.
_MAX_LOOPS = 4096
#: So much of a text is shown to people.
_MAX_SHOWN = 1500

#: The times among an invocation's statistics, in milliseconds.
_TIMES = frozenset({"load_ms", "compute_ms", "gpu_ms"})

#: How an attempt may end on an executor. Whatever else the error table has is decided elsewhere.
CODES = frozenset(
    {
        "cancelled",
        "device_out_of_memory",
        "device_unavailable",
        "executor_lost",
        "expression_range",
        "internal",
        "kernel_fault",
        "launch_invalid",
        "signature_mismatch",
    }
)


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


def limit_times(frame: Frame, most_ms: float) -> None:
    """Cut the times of a checked `done` to what has passed since its attempt was sent, in milliseconds."""
    stats = frame["stats"]
    stats.update({name: min(stats[name], most_ms) for name in _TIMES & stats.keys()})


def _need(frame: Frame) -> None:
    _text(frame["inv"])
    _list(frame["keys"], _key)


def _copied(frame: Frame) -> None:
    _text(frame["inv"])
    _key(frame["key"])


def _done(frame: Frame) -> None:
    _text(frame["inv"])
    for name, value in _map(frame.setdefault("stats", {})).items():
        if name == "rounds":
            _list(value, _count, _MAX_LOOPS)
        elif name == "device_hits":
            _list(value, _key)
        else:
            _require(name in _TIMES, f"{shorten(name)} is no statistic")
            _amount(value)
    for text in _map(frame.setdefault("inline", {})).values():
        _require(isinstance(text, str), "an inline output is no text")
    _printed(frame)


def _failed(frame: Frame) -> None:
    _text(frame["inv"])
    _require(isinstance(frame.get("fatal", False), bool), "fatal is true or false")
    error = _map(frame["error"])
    _text(error["code"])
    _require(error["code"] in CODES, f"{shorten(error['code'])} is no error of an executor")
    # The rest, such as when to try again, is not its to say.
    frame["error"] = {"code": error["code"], "message": _shown(error["message"])}
    for name in ("hint", "where"):
        if error.get(name) is not None:
            frame["error"][name] = _shown(error[name])
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
    evicted = set(frame.get("evicted", []))
    _require(all(key not in evicted for key, _ in frame.get("added", [])), "a key has both come and left")


def _hello(frame: Frame) -> None:
    frame["name"] = _shown(frame["name"])
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


def _shown(value: object) -> str:
    _text(value)
    return harmless(str(value)[:_MAX_SHOWN])[:_MAX_SHOWN]


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
