"""Contexts and events: whose things are whose, what a thread sees, what outlives what."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from contract_device import Gate, Module

ONE = (1, 1, 1)


@pytest.fixture
def other(cuda: Any, context: Any) -> Iterator[Any]:
    """A second context, not current."""
    made = cuda.Device(0).make_context()
    made.pop()
    try:
        yield made
    finally:
        made.detach()


def test_a_thread_begins_without_a_context(cuda: Any, context: Any) -> None:
    seen: list[Any] = []

    def look() -> None:
        try:
            cuda.mem_alloc(16)
        except cuda.Error as error:
            seen.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert isinstance(seen[0], cuda.LogicError)
    assert "invalid device context" in str(seen[0])


def test_memory_of_one_context_is_freed_from_another(cuda: Any, context: Any, other: Any) -> None:
    before = cuda.mem_get_info()[0]
    memory = cuda.mem_alloc(16 << 20)
    other.push()
    try:
        memory.free()  # PyCUDA makes its context current for that.
    finally:
        other.pop()
    assert cuda.mem_get_info()[0] == before


def test_a_function_belongs_to_its_context(cuda: Any, context: Any, other: Any) -> None:
    function = Module("control")["set"]
    other.push()
    try:
        value = cuda.to_device(np.zeros(1, np.int32))
        with pytest.raises(cuda.LogicError):
            function(value, np.int32(1), block=ONE)
        assert cuda.from_device(value, 1, np.int32)[0] == 0
        value.free()
    finally:
        other.pop()


def test_an_event_is_recorded_in_its_own_context_only(cuda: Any, context: Any, other: Any) -> None:
    event = cuda.Event()
    other.push()
    try:
        stream = cuda.Stream(1)
        with pytest.raises(cuda.LogicError, match="invalid resource handle"):
            event.record(stream)
        del stream
    finally:
        other.pop()


def test_one_context_waits_for_an_event_of_another(cuda: Any, context: Any, other: Any, gate: Gate) -> None:
    stream, event = cuda.Stream(1), cuda.Event(cuda.event_flags.DISABLE_TIMING)
    Module("control")["wait_for"](np.uintp(gate.address), block=ONE, stream=stream)
    event.record(stream)
    other.push()
    try:
        waiting = cuda.Stream(1)
        waiting.wait_for_event(event)
        assert not waiting.is_done()
        gate.open()
        waiting.synchronize()
        assert event.query()
        del waiting
    finally:
        other.pop()


def test_contexts_do_not_wait_for_each_other(cuda: Any, context: Any, other: Any, gate: Gate) -> None:
    Module("control")["wait_for"](np.uintp(gate.address), block=ONE)
    other.push()
    try:
        value = cuda.to_device(np.zeros(1, np.int32))
        Module("control")["set"](value, np.int32(3), block=ONE)
        other.synchronize()
        assert cuda.from_device(value, 1, np.int32)[0] == 3
        value.free()
    finally:
        other.pop()
    gate.open()


def test_a_context_knows_its_settings(cuda: Any, context: Any) -> None:
    assert context.get_device() == cuda.Device(0)
    assert context.get_api_version() >= 3020
    context.set_cache_config(cuda.func_cache.PREFER_SHARED)
    assert context.get_cache_config() in (cuda.func_cache.PREFER_SHARED, cuda.func_cache.PREFER_NONE)
    for limit in (cuda.limit.PRINTF_FIFO_SIZE, cuda.limit.MALLOC_HEAP_SIZE):
        context.set_limit(limit, 2 << 20)
        assert context.get_limit(limit) >= 2 << 20


def test_a_device_describes_all_its_attributes(cuda: Any) -> None:
    attributes = cuda.Device(0).get_attributes()
    names = cuda.device_attribute
    assert attributes[names.MAX_BLOCK_DIM_X] == 1024
    assert attributes[names.MAX_GRID_DIM_X] == (1 << 31) - 1
    assert attributes[names.MAX_SHARED_MEMORY_PER_BLOCK] == 48 << 10
    assert attributes[names.UNIFIED_ADDRESSING] == 1
    assert attributes[names.CAN_MAP_HOST_MEMORY] == 1


# ***** events *****


@pytest.mark.parametrize("flag", ["DEFAULT", "BLOCKING_SYNC", "DISABLE_TIMING"])
def test_events_of_every_kind_wait(cuda: Any, context: Any, gate: Gate, flag: str) -> None:
    stream, event = cuda.Stream(1), cuda.Event(getattr(cuda.event_flags, flag))
    Module("control")["wait_for"](np.uintp(gate.address), block=ONE, stream=stream)
    event.record(stream)
    assert not event.query()
    gate.open()
    event.synchronize()
    assert event.query()


def test_an_event_may_go_before_what_waits_for_it(cuda: Any, context: Any, gate: Gate) -> None:
    first, second = cuda.Stream(1), cuda.Stream(1)
    value = cuda.pagelocked_zeros(1, np.int32)
    address = np.uintp(value.base.get_device_pointer())
    module = Module("control")
    module["wait_for"](np.uintp(gate.address), block=ONE, stream=first)
    module["set"](address, np.int32(1), block=ONE, stream=first)
    event = cuda.Event()
    event.record(first)
    second.wait_for_event(event)
    del event
    module["set"](address, np.int32(2), block=ONE, stream=second)
    assert not second.is_done()
    gate.open()
    second.synchronize()
    assert value[0] == 2


def test_a_recorded_event_can_be_waited_for_many_times(cuda: Any, context: Any) -> None:
    event, streams = cuda.Event(), [cuda.Stream(1) for _ in range(8)]
    event.record(streams[0])
    for stream in streams:
        for _ in range(5):
            stream.wait_for_event(event)
    context.synchronize()
    assert all(stream.is_done() for stream in streams)


def test_a_new_record_replaces_the_old(cuda: Any, context: Any, gate: Gate) -> None:
    held, free = cuda.Stream(1), cuda.Stream(1)
    event = cuda.Event()
    Module("control")["wait_for"](np.uintp(gate.address), block=ONE, stream=held)
    event.record(held)
    assert not event.query()
    event.record(free)
    event.synchronize()  # Of what `held` does, nothing is asked any more.
    assert not held.is_done()
    gate.open()


def test_time_goes_on_between_events(cuda: Any, context: Any) -> None:
    events = [cuda.Event() for _ in range(5)]
    for event in events:
        event.record()
    events[-1].synchronize()
    times = [event.time_since(events[0]) for event in events]
    assert times == sorted(times)
    assert times[0] == 0
    assert events[0].time_since(events[-1]) == -times[-1]


def test_an_event_that_was_never_recorded_measures_nothing(cuda: Any, context: Any) -> None:
    start, end = cuda.Event(), cuda.Event()
    start.record()
    start.synchronize()
    with pytest.raises(cuda.LogicError, match="invalid resource handle"):
        end.time_since(start)


def test_a_stream_that_has_nothing_to_do_is_done(cuda: Any, context: Any) -> None:
    streams = [cuda.Stream(flag) for flag in (0, 1)]
    assert all(stream.is_done() for stream in streams)
    assert len({stream.handle for stream in streams}) == 2
    for stream in streams:
        stream.synchronize()


def test_many_streams_and_events(cuda: Any, context: Any) -> None:
    values = cuda.to_device(np.zeros(200, np.int32))
    store = Module("control")["set"]
    store.prepare("Pi")
    for index in range(200):
        stream, event = cuda.Stream(1), cuda.Event()
        store.prepared_async_call((1, 1), ONE, stream, int(values) + 4 * index, index)
        event.record(stream)
    context.synchronize()
    assert list(cuda.from_device(values, 200, np.int32)) == list(range(200))
