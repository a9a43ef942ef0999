"""Streams and events: what runs at the same time, and what waits for what. No clock is looked at.

Freeing memory waits for all work, so each test opens its gate before its memory goes away.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from contract_device import Gate, Module

ONE = (1, 1, 1)


def wait_for(module: Module, gate: Gate, stream: Any) -> None:
    module["wait_for"](np.uintp(gate.address), block=ONE, grid=(1, 1), stream=stream)


@pytest.fixture
def control(context: Any) -> Module:
    return Module("control")


def test_a_launch_returns_before_the_kernel_ends(cuda: Any, control: Module, gate: Gate) -> None:
    stream, event = cuda.Stream(), cuda.Event()
    assert stream.is_done()
    wait_for(control, gate, stream)
    event.record(stream)
    assert not stream.is_done()
    assert not event.query()
    gate.open()
    event.synchronize()
    assert event.query()
    stream.synchronize()
    assert stream.is_done()


def test_work_in_one_stream_keeps_its_order(cuda: Any, control: Module, gate: Gate) -> None:
    stream = cuda.Stream()
    log, length = cuda.to_device(np.zeros(50, np.int32)), cuda.to_device(np.zeros(1, np.int32))
    wait_for(control, gate, stream)
    append = control["append"]
    append.prepare("PPi")
    for value in range(50):
        append.prepared_async_call((1, 1), ONE, stream, log, length, value)
    gate.open()
    result = cuda.pagelocked_empty(50, np.int32)
    cuda.memcpy_dtoh_async(result, log, stream)
    stream.synchronize()
    assert list(result) == list(range(50))


def test_streams_do_not_wait_for_each_other(cuda: Any, control: Module, gate: Gate) -> None:
    held, free = cuda.Stream(1), cuda.Stream(1)
    wait_for(control, gate, held)
    source = cuda.pagelocked_empty(1000, np.int32)
    source[:] = np.arange(1000)
    target = cuda.pagelocked_zeros(1000, np.int32)
    memory = cuda.mem_alloc(source.nbytes)
    cuda.memcpy_htod_async(memory, source, free)
    cuda.memset_d32_async(memory, 7, 10, free)
    cuda.memcpy_dtoh_async(target, memory, free)
    free.synchronize()
    assert not held.is_done()
    assert list(target[:12]) == [7] * 10 + [10, 11]
    gate.open()


def test_a_stream_waits_for_an_event_of_another(cuda: Any, control: Module, gate: Gate) -> None:
    first, second = cuda.Stream(1), cuda.Stream(1)
    value = cuda.to_device(np.zeros(1, np.int32))
    ready = cuda.Event(cuda.event_flags.DISABLE_TIMING)
    wait_for(control, gate, first)
    control["set"](value, np.int32(5), block=ONE, stream=first)
    ready.record(first)
    second.wait_for_event(ready)
    result = cuda.pagelocked_zeros(1, np.int32)
    cuda.memcpy_dtoh_async(result, value, second)
    assert not second.is_done()
    gate.open()
    second.synchronize()
    assert result[0] == 5


def test_waiting_for_an_event_takes_its_last_record(cuda: Any, control: Module, gate: Gate) -> None:
    held, free = cuda.Stream(1), cuda.Stream(1)
    event = cuda.Event()
    event.record(free)
    free.synchronize()
    free.wait_for_event(event)
    wait_for(control, gate, held)
    # Recording again changes nothing for those that wait already.
    event.record(held)
    free.synchronize()
    assert not event.query()
    gate.open()


def test_an_event_that_was_never_recorded_is_done(cuda: Any, context: Any) -> None:
    event = cuda.Event()
    assert event.query()
    event.synchronize()
    cuda.Stream().wait_for_event(event)


def test_the_default_stream_waits_for_blocking_streams_only(cuda: Any, control: Module, gate: Gate) -> None:
    apart = cuda.Stream(1)
    wait_for(control, gate, apart)
    memory = cuda.to_device(np.arange(4, dtype=np.int32))
    cuda.memset_d32(memory, 3, 4)
    assert list(cuda.from_device(memory, 4, np.int32)) == [3] * 4
    assert not apart.is_done()
    gate.open()


def test_a_blocking_stream_waits_for_the_default_stream(cuda: Any, control: Module, gate: Gate) -> None:
    blocking = cuda.Stream()
    wait_for(control, gate, None)
    value = cuda.pagelocked_zeros(1, np.int32)
    control["set"](np.uintp(value.base.get_device_pointer()), np.int32(9), block=ONE, stream=blocking)
    assert not blocking.is_done()
    assert value[0] == 0
    gate.open()
    blocking.synchronize()
    assert value[0] == 9


def test_synchronising_the_context_waits_for_all(cuda: Any, context: Any, control: Module, gate: Gate) -> None:
    streams = [cuda.Stream(1) for _ in range(3)]
    wait_for(control, gate, streams[0])
    event = cuda.Event()
    event.record(streams[0])
    for stream in streams[1:]:
        stream.wait_for_event(event)
    opener = threading.Thread(target=gate.open)
    opener.start()
    context.synchronize()
    opener.join()
    assert all(stream.is_done() for stream in streams)


def test_a_destroyed_stream_ends_its_work(cuda: Any, context: Any, control: Module, gate: Gate) -> None:
    value = cuda.to_device(np.zeros(1, np.int32))
    stream = cuda.Stream()
    wait_for(control, gate, stream)
    control["set"](value, np.int32(4), block=ONE, stream=stream)
    del stream
    gate.open()
    context.synchronize()
    assert cuda.from_device(value, 1, np.int32)[0] == 4


def test_events_measure(cuda: Any, control: Module, gate: Gate) -> None:
    stream = cuda.Stream()
    start, end = cuda.Event(), cuda.Event()
    start.record(stream)
    wait_for(control, gate, stream)
    end.record(stream)
    start.synchronize()
    with pytest.raises(cuda.RuntimeError, match="not ready"):
        end.time_since(start)
    gate.open()
    end.synchronize()
    assert end.time_since(start) > 0
    assert start.time_till(end) == end.time_since(start)


def test_an_event_without_timing_measures_nothing(cuda: Any, context: Any) -> None:
    start, end = cuda.Event(), cuda.Event(cuda.event_flags.DISABLE_TIMING)
    start.record()
    end.record()
    end.synchronize()
    with pytest.raises(cuda.LogicError):
        end.time_since(start)


def test_ordinary_memory_may_change_after_the_call(cuda: Any, control: Module, gate: Gate) -> None:
    stream = cuda.Stream()
    wait_for(control, gate, stream)
    source = np.arange(100, dtype=np.int32)
    memory = cuda.mem_alloc(source.nbytes)
    cuda.memcpy_htod_async(memory, source, stream)
    source[:] = -1
    gate.open()
    stream.synchronize()
    assert list(cuda.from_device_like(memory, source)) == list(range(100))


def test_threads_share_a_context(cuda: Any, context: Any, control: Module) -> None:
    values = cuda.to_device(np.zeros(4, np.int32))
    failures: list[BaseException] = []

    def work(index: int) -> None:
        try:
            context.push()
            try:
                stream = cuda.Stream(1)
                for _ in range(100):
                    control["set"](np.uintp(int(values) + 4 * index), np.int32(index + 1), block=ONE, stream=stream)
                stream.synchronize()
                del stream
            finally:
                cuda.Context.pop()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert list(cuda.from_device(values, 4, np.int32)) == [1, 2, 3, 4]
