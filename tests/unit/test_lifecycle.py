"""The lifecycle of the pool's processes, driven by events on an invented clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaas_pool.supervisor.lifecycle import (
    MOVER_GRACE,
    RESTART_DELAYS,
    STEADY_AFTER,
    WORKER_GRACE,
    Child,
    Exited,
    InvalidTransition,
    Kill,
    KillRequested,
    Lifecycle,
    Report,
    Spawned,
    SpawnFailed,
    Start,
    StopRequested,
    Terminate,
    TimePassed,
)


def pool() -> Lifecycle:
    """Front (process 1) and mover (process 2), running since time 0."""
    lifecycle = Lifecycle(drain=30.0)
    assert lifecycle.add_service("front", 0.0) == [Start("front")]
    assert lifecycle.add_service("mover", 0.0) == [Start("mover")]
    assert lifecycle.handle("front", Spawned(1), 0.0) == []
    assert lifecycle.handle("mover", Spawned(2), 0.0) == []
    return lifecycle


def stage(lifecycle: Lifecycle) -> str:
    """Read anew each time: the type checker takes an attribute for constant between two looks."""
    return lifecycle.stage


def worker(lifecycle: Lifecycle, role: str = "executor", pid: int = 10) -> str:
    assert role in ("executor", "compiler")
    name, instructions = lifecycle.add_worker("executor" if role == "executor" else "compiler", 0.0)
    assert instructions == [Start(name)]
    lifecycle.handle(name, Spawned(pid), 0.0)
    return name


def test_a_service_comes_back_at_once_and_then_more_slowly() -> None:
    lifecycle = pool()
    now = 1.0
    assert lifecycle.handle("front", Exited(-9), now) == [Report("front", -9), Start("front")]
    for delay in [*RESTART_DELAYS[1:], RESTART_DELAYS[-1], RESTART_DELAYS[-1]]:
        lifecycle.handle("front", Spawned(3), now)
        assert lifecycle.handle("front", Exited(1), now) == [Report("front", 1)]
        assert lifecycle.next_deadline == now + delay
        assert lifecycle.pass_time(now + delay / 2) == []
        now += delay
        assert lifecycle.pass_time(now) == [Start("front")]


def test_a_steady_life_forgets_earlier_deaths() -> None:
    lifecycle = pool()
    lifecycle.handle("front", Exited(1), 0.0)
    lifecycle.handle("front", Spawned(3), 0.0)
    assert lifecycle.handle("front", Exited(1), STEADY_AFTER) == [Report("front", 1), Start("front")]


def test_a_service_that_cannot_be_started_is_tried_again() -> None:
    lifecycle = pool()
    assert lifecycle.handle("front", Exited(1), 0.0) == [Report("front", 1), Start("front")]
    assert lifecycle.handle("front", SpawnFailed("no memory"), 0.0) == []
    assert lifecycle.pass_time(RESTART_DELAYS[1]) == [Start("front")]


def test_a_worker_is_reported_and_not_restarted() -> None:
    lifecycle = pool()
    name = worker(lifecycle)
    assert lifecycle.handle(name, Exited(-11), 5.0) == [Report(name, -11)]
    assert name not in lifecycle.children
    assert lifecycle.next_deadline is None
    assert worker(lifecycle) != name, "names are not used twice"


def test_a_worker_that_cannot_be_started_is_forgotten() -> None:
    lifecycle = pool()
    name, _ = lifecycle.add_worker("executor", 0.0)
    assert lifecycle.handle(name, SpawnFailed("no memory"), 0.0) == []
    assert name not in lifecycle.children


def test_a_kill_is_carried_out_once_and_ends_in_a_report() -> None:
    lifecycle = pool()
    name = worker(lifecycle)
    assert lifecycle.handle(name, KillRequested("endless kernel"), 1.0) == [Kill(name)]
    assert lifecycle.handle(name, KillRequested("again"), 1.0) == []
    assert lifecycle.handle(name, Exited(-9), 1.1) == [Report(name, -9)]


def test_stopping_goes_front_then_workers_then_mover() -> None:
    lifecycle = pool()
    executor, compiler = worker(lifecycle, "executor", 10), worker(lifecycle, "compiler", 11)
    assert lifecycle.stop(0.0) == [Terminate("front")]
    assert stage(lifecycle) == "draining"
    assert lifecycle.handle("front", Exited(0), 1.0) == [Report("front", 0), Kill(compiler), Terminate(executor)]
    assert lifecycle.handle(compiler, Exited(-9), 1.0) == [Report(compiler, -9)]
    assert lifecycle.handle(executor, Exited(0), 1.0) == [Report(executor, 0), Terminate("mover")]
    assert stage(lifecycle) == "leaving"
    assert lifecycle.handle("mover", Exited(0), 1.0) == [Report("mover", 0)]
    assert stage(lifecycle) == "finished"


def test_whoever_does_not_stop_in_time_is_killed() -> None:
    lifecycle = pool()
    executor = worker(lifecycle)
    lifecycle.stop(0.0)
    assert lifecycle.pass_time(29.9) == []
    assert lifecycle.pass_time(30.0) == [Kill("front")]
    lifecycle.handle("front", Exited(-9), 30.0)
    assert lifecycle.next_deadline == 30.0 + WORKER_GRACE
    assert lifecycle.pass_time(30.0 + WORKER_GRACE) == [Kill(executor)]
    lifecycle.handle(executor, Exited(-9), 33.0)
    assert lifecycle.pass_time(33.0 + MOVER_GRACE) == [Kill("mover")]
    lifecycle.handle("mover", Exited(-9), 40.0)
    assert stage(lifecycle) == "finished"


def test_asking_twice_kills_everyone() -> None:
    lifecycle = pool()
    executor = worker(lifecycle)
    lifecycle.stop(0.0)
    assert set(lifecycle.stop(0.1)) == {Kill("front"), Kill("mover"), Kill(executor)}
    for name in ("front", "mover", executor):
        lifecycle.handle(name, Exited(-9), 0.2)
    assert stage(lifecycle) == "finished"


def test_a_draining_front_still_gets_workers_and_a_closing_pool_gives_none() -> None:
    lifecycle = pool()
    lifecycle.stop(0.0)
    name = worker(lifecycle)
    lifecycle.handle("front", Exited(0), 0.0)
    with pytest.raises(InvalidTransition, match="closing"):
        lifecycle.add_worker("executor", 0.0)
    lifecycle.handle(name, Exited(0), 0.0)


def test_the_mover_is_kept_alive_while_the_front_drains() -> None:
    lifecycle = pool()
    lifecycle.stop(0.0)
    assert lifecycle.handle("mover", Exited(-9), 0.5) == [Report("mover", -9), Start("mover")]


def test_a_front_that_waits_for_its_restart_is_not_started_to_be_stopped() -> None:
    lifecycle = pool()
    lifecycle.handle("front", Exited(1), 0.0)
    lifecycle.handle("front", Spawned(3), 0.0)
    lifecycle.handle("front", Exited(1), 0.0)
    assert lifecycle.stop(0.0) == [Terminate("mover")]
    assert lifecycle.pass_time(10.0) == [Kill("mover")]


def test_an_impossible_event_tells_the_story() -> None:
    child = Child("executor-1", "executor", deadline=0.0)
    child.handle(TimePassed(), 0.0)
    child.handle(Spawned(7), 0.5)
    with pytest.raises(InvalidTransition, match=r"executor-1 is running.*0\.500 starting Spawned\(pid=7\)"):
        child.handle(Spawned(8), 1.0)


@given(st.lists(st.tuples(st.sampled_from(["exit", "kill", "time", "stop", "worker"]), st.floats(0, 50)), max_size=40))
def test_any_order_of_events_keeps_the_invariants(steps: list[tuple[str, float]]) -> None:
    """Whatever happens, starts are answered, no name has two processes, and two stops and the exits finish the pool."""
    lifecycle = Lifecycle(drain=30.0)
    now, processes = 0.0, 100
    todo = [*lifecycle.add_service("front", now), *lifecycle.add_service("mover", now)]

    def settle() -> None:
        nonlocal processes
        while todo:
            instruction = todo.pop(0)
            if isinstance(instruction, Start):
                processes += 1
                todo.extend(lifecycle.handle(instruction.child, Spawned(processes), now))

    for what, amount in steps:
        settle()
        now += amount if what == "time" else 0.0
        running = [child for child in lifecycle.children.values() if child.pid is not None]
        if what == "exit" and running:
            todo.extend(lifecycle.handle(running[int(amount) % len(running)].name, Exited(1), now))
        elif what == "kill" and running:
            todo.extend(lifecycle.handle(running[int(amount) % len(running)].name, KillRequested("test"), now))
        elif what == "time":
            todo.extend(lifecycle.pass_time(now))
        elif what == "stop":
            todo.extend(lifecycle.stop(now))
        elif what == "worker" and lifecycle.stage in ("serving", "draining"):
            todo.extend(lifecycle.add_worker("executor", now)[1])
    settle()
    todo.extend(lifecycle.stop(now))
    todo.extend(lifecycle.stop(now))
    settle()
    for child in list(lifecycle.children.values()):
        child.validate()
        if child.pid is not None:
            todo.extend(lifecycle.handle(child.name, Exited(-9), now))
            settle()
    assert stage(lifecycle) == "finished"


def test_the_grace_of_a_stop_is_its_own() -> None:
    child = Child("mover", "mover", deadline=0.0)
    child.handle(TimePassed(), 0.0)
    child.handle(Spawned(7), 0.0)
    assert child.handle(StopRequested(3.0), 10.0) == [Terminate("mover")]
    assert child.deadline == 13.0
