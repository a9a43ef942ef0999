"""The life of an invocation: legal moves only, one end, a story that tells why; and the heap of budgets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaas.errors import CallerError, PlatformError
from kaas_pool.front.deadlines import Deadlines
from kaas_pool.front.invocation import (
    FINAL,
    MAX_ATTEMPTS,
    PUBLIC,
    STAGE_WORDS,
    TRANSITIONS,
    InvalidTransition,
    Invocation,
    Stage,
)

LOST = PlatformError("executor_lost", "the executor died")


def invocation() -> Invocation:
    return Invocation("t", "id-1", "f", accepted=10.0, deadline=70.0, budget_ms=60_000)


def running() -> Invocation:
    one = invocation()
    one.move("queued", 10.0, "queued")
    one.grant("0", 11.0)
    return one


def test_the_usual_way() -> None:
    one = running()
    one.move("computing", 12.0, "computing")
    one.move("storing", 13.0, "computed")
    one.succeed({"z": 1}, 14.0)
    answer = one.answer(with_story=True)
    assert (answer.state, answer.result, answer.error, one.ended) == ("done", {"z": 1}, None, 14.0)
    assert [line["ms"] for line in answer.story] == [0.0, 1000.0, 2000.0, 3000.0, 4000.0]
    assert one.answer().story == ()


def test_a_lost_attempt_waits_again_until_the_attempts_are_used_up() -> None:
    one = running()
    for attempt in range(1, MAX_ATTEMPTS):
        assert one.lose(LOST, 12.0)
        assert (one.stage, one.attempts) == ("queued", attempt)
        one.grant("0", 12.0)
    assert not one.lose(LOST, 12.0)
    assert (one.stage, one.attempts) == ("failed", MAX_ATTEMPTS)
    assert one.error is LOST


def test_no_retry_after_the_budget_or_for_the_callers_fault() -> None:
    late = running()
    assert not late.lose(LOST, 70.0)
    fault = running()
    assert not fault.lose(CallerError("kernel_fault", "illegal address"), 12.0)
    assert (late.stage, fault.stage) == ("failed", "failed")


@pytest.mark.parametrize("stage", sorted(STAGE_WORDS))
def test_a_spent_budget_names_its_stage(stage: Stage) -> None:
    one = invocation()
    one.stage = stage
    one.spend(70.0)
    assert one.error is not None
    assert one.error.code == "budget_exceeded"
    assert "60000 ms" in one.error.message
    assert STAGE_WORDS[stage] in one.error.message


def test_cancelled_is_an_end() -> None:
    one = running()
    one.cancel("the client left", 12.0)
    assert one.answer().state == "cancelled"
    with pytest.raises(InvalidTransition, match="the client left"):
        one.succeed({}, 13.0)


def test_the_tables_are_whole() -> None:
    assert set(TRANSITIONS) == set(PUBLIC) == FINAL | set(STAGE_WORDS)
    for stage, following in TRANSITIONS.items():
        assert (not following) == (stage in FINAL)
        assert stage in FINAL or {"failed", "cancelled"} <= following, "every unfinished stage can be ended"


_MOVES: dict[str, Callable[[Invocation, float], object]] = {
    "queue": lambda one, now: one.move("queued", now, "queued"),
    "grant": lambda one, now: one.grant("0", now),
    "compute": lambda one, now: one.move("computing", now, "computing"),
    "need": lambda one, now: one.move("loading", now, "loading"),
    "store": lambda one, now: one.move("storing", now, "storing"),
    "succeed": lambda one, now: one.succeed({}, now),
    "lose": lambda one, now: one.lose(LOST, now),
    "fail": lambda one, now: one.fail(CallerError("kernel_fault", "x"), now),
    "cancel": lambda one, now: one.cancel("x", now),
    "spend": lambda one, now: one.spend(now),
}


@given(st.lists(st.sampled_from(sorted(_MOVES)), max_size=120))
def test_whatever_happens_there_is_at_most_one_end(names: list[str]) -> None:
    one = invocation()
    ends = 0
    for now, name in enumerate(names, start=11):
        before = (one.stage, one.result, one.error)
        try:
            _MOVES[name](one, float(now))
        except InvalidTransition:
            assert (one.stage, one.result, one.error) == before, "a refused move changes nothing"
            continue
        ends += one.is_final
        assert one.attempts <= MAX_ATTEMPTS or one.stage != "queued"
    assert ends == (one.stage in FINAL)
    assert one.is_final == (one.ended is not None)
    assert (one.stage == "done") == (one.result is not None)
    assert (one.stage in {"failed", "cancelled"}) == (one.error is not None)
    assert len(one.story()) <= 64


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "discard", "due"]), st.integers(0, 20), st.integers(0, 100)), max_size=300
    )
)
def test_deadlines_agree_with_a_plain_dict(operations: list[tuple[str, int, int]]) -> None:
    heap: Deadlines[int] = Deadlines()
    plain: dict[int, int] = {}
    for operation, key, when in operations:
        if operation == "add":
            heap.add(key, when)
            plain[key] = when
        elif operation == "discard":
            heap.discard(key)
            plain.pop(key, None)
        else:
            due = heap.due(when)
            assert sorted(due) == sorted(key for key, time in plain.items() if time <= when)
            assert [plain[key] for key in due] == sorted(plain[key] for key in due)
            plain = {key: time for key, time in plain.items() if time > when}
        assert len(heap) == len(plain)
        assert heap.next_due() == min(plain.values(), default=None)


def test_removed_deadlines_take_no_room() -> None:
    heap: Deadlines[int] = Deadlines()
    for key in range(10_000):
        heap.add(key, key)
        heap.discard(key)
    assert len(heap._heap) <= 65
