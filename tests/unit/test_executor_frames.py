"""What the front believes of an executor's frames: those of docs/contracts.md, and no others."""

from __future__ import annotations

import math
from typing import Any

import pytest

from kaas.errors import KaasError
from kaas_pool.front.executor_frames import CODES, check_answer, check_frame, limit_times

KEY = "a" * 64
GOOD: list[dict[str, Any]] = [
    {
        "type": "hello",
        "epoch": 1,
        "name": "T4",
        "memory_bytes": 1 << 34,
        "compute_capability": [7, 5],
        "resident": [[KEY, 4]],
    },
    {"type": "hello", "name": "", "memory_bytes": 0, "compute_capability": [0, 0]},
    {"type": "need", "inv": "t/i/1", "keys": [KEY, f"file:sha256:{KEY}:0:4:{'p' * 255}"]},
    {"type": "copied", "inv": "t/i/1", "key": KEY},
    {
        "type": "done",
        "inv": "t/i/1",
        "stats": {"gpu_ms": 0.5, "device_hits": [KEY], "rounds": [3, 0]},
        "inline": {"z": "AAAA"},
    },
    {"type": "done", "inv": "t/i/1", "stats": {}, "inline": {}, "printed": {"text": "hello\n", "left_out": 0}},
    {"type": "done", "inv": "t/i/1", "stats": {}, "inline": {}, "printed": {"crowded": True}},
    {"type": "failed", "inv": "t/i/1", "error": {"code": "kernel_fault", "message": "m", "hint": None}, "fatal": True},
    {"type": "usage", "bytes": 4, "pinned": 0, "evicted": ["b" * 64], "added": [[KEY, 4]]},
    # As much as there may be.
    {"type": "usage", "bytes": 1 << 62, "evicted": ["a" * 1024]},
    {"type": "done", "inv": "i" * 65_536, "stats": {"load_ms": 1 << 62, "rounds": [0] * 4096}, "inline": {}},
]


@pytest.mark.parametrize("frame", GOOD, ids=lambda frame: str(frame["type"]))
def test_good_frames(frame: dict[str, Any]) -> None:
    check_frame(frame)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "spawned"},
        {"type": "need", "keys": KEY},
        {"type": "need", "keys": [None]},
        {"type": "need", "keys": [["a"]]},
        {"type": "copied", "key": "a" * 1025},
        {"type": "copied", "inv": [1]},
        {"type": "done", "stats": []},
        {"type": "done", "stats": {"gpu_ms": math.nan}},
        {"type": "done", "stats": {"gpu_ms": math.inf}},
        {"type": "done", "stats": {"gpu_ms": -1}},
        {"type": "done", "stats": {"gpu_ms": "1"}},
        {"type": "done", "stats": {"gpu_ms": True}},
        {"type": "done", "stats": {"rounds": 1}},
        {"type": "done", "stats": {"device_hits": 1}},
        {"type": "done", "stats": {"rounds": [0.5]}},
        {"type": "done", "stats": {"gpu_ms": (1 << 62) + 1024}},
        {"type": "done", "stats": {"made_up": 0}},
        {"type": "done", "stats": {"rounds": [0] * 4097}},
        {"type": "done", "inline": {"z": 1}},
        {"type": "done", "printed": {"text": "x", "left_out": math.inf}},
        {"type": "done", "printed": "x"},
        {"type": "failed", "error": "x"},
        {"type": "failed", "error": {"code": [], "message": "m"}},
        {"type": "failed", "error": {"code": "internal"}},
        {"type": "failed", "error": {"code": "internal", "message": "x" * 65_537}},
        {"type": "failed", "error": {"code": "internal", "message": "m", "where": {}}},
        {"type": "failed", "error": {"code": "made_up", "message": "m"}},
        {"type": "failed", "error": {"code": "unauthenticated", "message": "m"}},
        {"type": "failed", "error": {"code": "pool_storage_full", "message": "m"}},
        {"type": "failed", "fatal": "no"},
        {"type": "usage", "bytes": -1},
        {"type": "usage", "bytes": (1 << 62) + 1},
        {"type": "usage", "added": [[KEY, "4"]]},
        {"type": "usage", "added": [[KEY]]},
        {"type": "usage", "evicted": [[]]},
        {"type": "usage", "evicted": [KEY], "added": [[KEY, 4]]},
        {"type": "hello", "memory_bytes": math.nan},
        {"type": "hello", "compute_capability": [9]},
        {"type": "hello", "compute_capability": [9, 0, 0]},
        {"type": "hello", "resident": {}},
    ],
    ids=str,
)
def test_fields_that_do_not_fit(change: dict[str, Any]) -> None:
    good = next((frame for frame in GOOD if frame["type"] == change["type"]), {})
    with pytest.raises(ValueError):
        check_frame({**good, **change})


@pytest.mark.parametrize("kind", ["need", "copied", "done", "failed", "usage", "hello"])
def test_fields_that_are_missing(kind: str) -> None:
    with pytest.raises(ValueError, match="it has no"):
        check_frame({"type": kind})


@pytest.mark.parametrize("code", sorted(CODES))
def test_an_error_keeps_its_code(code: str) -> None:
    frame: dict[str, Any] = {"type": "failed", "inv": "t/i/1"}
    frame["error"] = {"code": code, "message": "m", "hint": "h", "where": "w"}
    check_frame(frame)
    error = KaasError.from_json(frame["error"])
    assert (error.code, error.message, error.hint, error.where) == (code, "m", "h", "w")


def test_what_is_not_the_executors_to_say_is_dropped() -> None:
    told = {"code": "executor_lost", "message": "m", "retry_after_ms": 1 << 62, "activation": "a", "more": 1}
    frame = {"type": "failed", "inv": "t/i/1", "error": told}
    check_frame(frame)
    assert frame["error"] == {"code": "executor_lost", "message": "m"}


def test_texts_are_made_harmless_and_short() -> None:
    evil = "\x1b[2J evil\r\ud800"
    frame: dict[str, Any] = {"type": "failed", "inv": "t/i/1"}
    frame["error"] = {"code": "internal", "message": "\0" * 65_536, "hint": evil, "where": evil}
    check_frame(frame)
    shown = r"\x1b[2J evil\r\ud800"
    assert frame["error"] == {"code": "internal", "message": r"\x00" * 375, "hint": shown, "where": shown}
    hello = {**GOOD[0], "name": evil}
    check_frame(hello)
    assert hello["name"] == shown


def test_times_are_within_what_has_passed() -> None:
    others = {"rounds": [99], "device_hits": [KEY]}
    frame: dict[str, Any] = {"stats": {"load_ms": 1 << 62, "compute_ms": 12.5, "gpu_ms": 13, **others}}
    limit_times(frame, 12.75)
    assert frame["stats"] == {"load_ms": 12.75, "compute_ms": 12.5, "gpu_ms": 12.75, **others}


def test_answers_name_what_the_attempt_has() -> None:
    check_answer({"type": "need", "keys": ["a"]}, ["a", "b"], [])
    check_answer({"type": "done", "inline": {"z": "", "y": ""}}, [], ["z"])
    check_answer({"type": "copied", "key": "other"}, [], ["z"])
    with pytest.raises(ValueError, match="no inputs"):
        check_answer({"type": "need", "keys": ["a", "c"]}, ["a", "b"], [])
    with pytest.raises(ValueError, match="missing"):
        check_answer({"type": "done", "inline": {"y": ""}}, [], ["z"])
