"""Frames of a hostile process: raw bytes with descriptors, and an executor's frames with fields exchanged."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from hypothesis import strategies as st
from made_calls import WILD
from made_objects import damaged

_KINDS = ["probe", "large", "done", "hello"]
_WORDS = (b'"v":1', b'"type"', b'"large"', b"[" * 3000, b"NaN", b"\xff", b'"\\ud800"', b"{}", b"null", b"9" * 5000)


class RawFrame(NamedTuple):
    """A message's bytes, and what each of its descriptors is: `memory`, `pipe` or `folder`, and the memory's bytes."""

    body: bytes
    descriptors: list[str]
    memory: bytes


@st.composite
def raw_frames(draw: st.DrawFn) -> RawFrame:
    """Frames that are nearly right, and large ones that lie about their memory."""
    inner = json.dumps({"v": 1, "type": "probe", "fill": draw(WILD)}).encode("utf-8", "surrogatepass")
    memory = draw(st.sampled_from([inner, inner, b"", b"not JSON", bytes(200_000)]))
    size = draw(st.sampled_from([len(memory), len(memory), len(memory) + 1, 0, -1, 1 << 40, "x", None, True, 1.0]))
    fields: dict[str, Any] = {
        "v": draw(st.sampled_from([1, 1, 1, 2, "1", True])),
        "type": draw(st.sampled_from(_KINDS)),
    }
    if fields["type"] == "large":
        fields["size"] = size
    else:
        fields["fill"] = draw(WILD)
    body = json.dumps(fields).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 2)) == 0:
        body = draw(damaged(st.just(body), _WORDS))
    descriptors = draw(st.lists(st.sampled_from(["memory", "memory", "pipe", "folder"]), max_size=3))
    return RawFrame(body, descriptors, memory)


class Lie(NamedTuple):
    """A field of a frame, and what stands there instead."""

    kind: str
    field: str
    value: Any


_NUMBERS: st.SearchStrategy[Any] = st.sampled_from(
    [float("nan"), float("inf"), -1, -(1 << 70), 1 << 70, 1e308, True, "1", None, [], {}]
)
_FIELDS = {
    "done": ["inv", "stats", "inline", "printed"],
    "failed": ["inv", "error", "fatal", "printed"],
    "need": ["inv", "keys"],
    "copied": ["inv", "key"],
    "usage": ["bytes", "pinned", "evicted", "added"],
    "hello": ["name", "memory_bytes", "compute_capability", "resident", "pid"],
    "spawned": ["id"],
}
_CLOSE: dict[str, st.SearchStrategy[Any]] = {
    "stats": st.dictionaries(
        st.sampled_from(["compute_ms", "gpu_ms", "load_ms", "rounds", "device", "attempts", "x"]),
        _NUMBERS | WILD,
        max_size=3,
    ),
    "inline": st.dictionaries(
        st.sampled_from(["z", "y"]), WILD | st.sampled_from(["", "AAAA", "BwcHBwcHBwc=", "!"]), max_size=2
    ),
    "error": st.dictionaries(
        st.sampled_from(["code", "message", "hint", "where", "retry_after_ms", "activation"]),
        WILD | st.sampled_from(["executor_lost", "kernel_fault", "unauthenticated", "x" * 100_000]),
        max_size=4,
    ),
    "printed": st.dictionaries(st.sampled_from(["text", "left_out", "crowded"]), WILD | _NUMBERS, max_size=3),
    "keys": st.lists(WILD, max_size=2),
    "added": st.lists(st.lists(WILD | _NUMBERS, min_size=2, max_size=2), max_size=2),
    "evicted": st.lists(WILD, max_size=2),
    "resident": st.lists(st.lists(WILD | _NUMBERS, min_size=2, max_size=2), max_size=2),
    "bytes": _NUMBERS,
    "pinned": _NUMBERS,
    "memory_bytes": _NUMBERS,
    "compute_capability": st.lists(_NUMBERS, max_size=3),
}


@st.composite
def lies(draw: st.DrawFn) -> list[Lie]:
    """What an executor says that is taken over by the kernels it runs."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(sorted(_FIELDS)))
        field = draw(st.sampled_from(_FIELDS[kind][draw(st.integers(0, 1)) :] or _FIELDS[kind]))
        found.append(Lie(kind, field, draw(_CLOSE.get(field, WILD) | WILD)))
    return found
