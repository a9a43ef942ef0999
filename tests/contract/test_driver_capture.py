"""Stream capture: PyCUDA's calls become nodes of a graph; what must not be done meanwhile is refused."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from contract_device import KIND, Module
from graph_device import (
    CAPTURE_IMPLICIT,
    CAPTURE_INVALIDATED,
    CAPTURE_ISOLATION,
    CAPTURE_MERGE,
    CAPTURE_UNJOINED,
    CAPTURE_UNMATCHED,
    CAPTURE_UNSUPPORTED,
    CAPTURE_WRONG_THREAD,
    CAPTURED_EVENT,
    ILLEGAL_STATE,
    Graph,
    bindings,
    call,
    code_of,
    refusal,
)

GLOBAL, THREAD_LOCAL, RELAXED = 0, 1, 2  # CUstreamCaptureMode
NONE, ACTIVE, INVALIDATED = 0, 1, 2  # CUstreamCaptureStatus

ONE = (1, 1, 1)


def begin(stream: Any, mode: int = GLOBAL) -> None:
    call("cuStreamBeginCapture", stream.handle, bindings().CUstreamCaptureMode(mode))


def end(stream: Any) -> Graph:
    return Graph(call("cuStreamEndCapture", stream.handle))


def status(stream: Any) -> int:
    return int(call("cuStreamIsCapturing", stream.handle))


@pytest.fixture
def streams(cuda: Any, context: Any) -> Iterator[list[Any]]:
    """Three streams that do not wait for the default stream; whatever they capture is ended."""
    made = [cuda.Stream(1) for _ in range(3)]
    yield made
    for stream in made:
        if status(stream) != NONE:
            bindings().cuStreamEndCapture(stream.handle)


@pytest.fixture
def values(cuda: Any, context: Any) -> Any:
    return cuda.to_device(np.zeros(16, np.int32))


class Setter:
    """Sets one of the values, in a stream."""

    def __init__(self, values: Any) -> None:
        self._values, self._function = values, Module("control")["set"]

    def __call__(self, stream: Any, place: int, value: int) -> None:
        target = np.uintp(int(self._values) + 4 * place)
        self._function(target, np.int32(value), block=ONE, stream=stream)


@pytest.fixture
def put(values: Any) -> Setter:
    return Setter(values)


def test_what_is_captured_runs_when_it_is_launched(cuda: Any, streams: list[Any], values: Any, put: Setter) -> None:
    stream = streams[0]
    source = cuda.pagelocked_empty(16, np.int32)
    result = cuda.pagelocked_zeros(16, np.int32)
    source[:] = np.arange(16)
    begin(stream)
    assert status(stream) == ACTIVE
    cuda.memcpy_htod_async(values, source, stream)
    put(stream, 0, 40)
    cuda.memset_d32_async(int(values) + 4, 41, 1, stream)
    cuda.memcpy_dtod_async(int(values) + 8, values, 4, stream)
    cuda.memcpy_dtoh_async(result, values, stream)
    graph = end(stream)
    assert status(stream) == NONE
    assert stream.is_done()
    assert list(result) == [0] * 16
    kinds = [int(call("cuGraphNodeGetType", bindings().CUgraphNode(node))) for node in graph.nodes()]
    assert sorted(kinds) == [0, 1, 1, 1, 2]
    assert len(graph.edges()) == 4
    executable = graph.instantiate()
    for turn in range(3):
        source[15] = 100 + turn
        call("cuGraphLaunch", executable, stream.handle)
        stream.synchronize()
        assert list(result) == [40, 41, 40, *range(3, 15), 100 + turn]
    call("cuGraphExecDestroy", executable)


def test_streams_fork_and_join_by_events(cuda: Any, streams: list[Any], values: Any, put: Setter) -> None:
    main, side, other = streams
    forked, joined = cuda.Event(), [cuda.Event(), cuda.Event()]
    begin(main)
    put(main, 0, 1)
    forked.record(main)
    for stream, place, event in ((side, 1, joined[0]), (other, 2, joined[1])):
        stream.wait_for_event(forked)
        assert status(stream) == ACTIVE
        put(stream, place, 1)
        event.record(stream)
        main.wait_for_event(event)
    put(main, 3, 1)
    graph = end(main)
    assert [status(stream) for stream in streams] == [NONE] * 3
    assert len(graph.nodes()) == 4
    assert len(graph.roots()) == 1
    # An edge from the first node to the last would change nothing.
    assert len(graph.edges()) in (4, 5)
    graph.run()
    assert list(cuda.from_device(values, 4, np.int32)) == [1] * 4


def test_the_function_of_a_launch_can_be_had_from_its_node(streams: list[Any], put: Setter, values: Any) -> None:
    """PyCUDA shows no handles of functions: this is how one comes by them."""
    begin(streams[0])
    put(streams[0], 0, 1)
    graph = end(streams[0])
    given = call("cuGraphKernelNodeGetParams", bindings().CUgraphNode(graph.nodes()[0]))
    other = Graph()
    again = bindings().CUDA_KERNEL_NODE_PARAMS()
    again.func = given.func
    again.gridDimX = again.gridDimY = again.gridDimZ = again.blockDimX = again.blockDimY = again.blockDimZ = 1
    again.kernelParams = ((int(values) + 4, 6), (ctypes.c_void_p, ctypes.c_int))
    call("cuGraphAddKernelNode", other.handle, [], 0, again)
    other.run()


def test_a_capture_describes_itself(streams: list[Any], put: Setter) -> None:
    stream = streams[0]
    begin(stream)
    put(stream, 0, 1)
    state, number, graph, dependencies, count = call("cuStreamGetCaptureInfo", stream.handle)
    assert (int(state), count) == (ACTIVE, 1)
    assert int(number) > 0
    assert [int(node) for node in dependencies[:count]] == Graph(graph).nodes()
    again = call("cuStreamGetCaptureInfo_v3", stream.handle)
    assert int(again[1]) == int(number)
    assert int(again[2]) == int(graph)
    assert int(end(stream).handle) == int(graph)
    assert int(call("cuStreamGetCaptureInfo", stream.handle)[0]) == NONE


def test_nodes_can_be_added_by_hand_meanwhile(cuda: Any, streams: list[Any], values: Any, put: Setter) -> None:
    stream = streams[0]
    begin(stream)
    put(stream, 0, 1)
    _, _, handle, dependencies, count = call("cuStreamGetCaptureInfo", stream.handle)
    node = Graph(handle).copy((2, int(values) + 4), (2, int(values)), 4, after=dependencies[:count])
    replace = bindings().CUstreamUpdateCaptureDependencies_flags.CU_STREAM_SET_CAPTURE_DEPENDENCIES
    call("cuStreamUpdateCaptureDependencies", stream.handle, [node], 1, replace)
    cuda.memcpy_dtod_async(int(values) + 8, int(values) + 4, 4, stream)
    graph = end(stream)
    assert len(graph.edges()) == 2
    graph.run()
    assert list(cuda.from_device(values, 3, np.int32)) == [1] * 3


def test_capture_into_a_graph_that_is_there(cuda: Any, streams: list[Any], values: Any, put: Setter) -> None:
    graph = Graph()
    first = graph.fill(int(values), 5, 1)
    mode = bindings().CUstreamCaptureMode(GLOBAL)
    plain = [bindings().CUgraphEdgeData()]
    call("cuStreamBeginCaptureToGraph", streams[0].handle, graph.handle, [first], plain, 1, mode)
    cuda.memcpy_dtod_async(int(values) + 4, values, 4, streams[0])
    assert int(end(streams[0]).handle) == int(graph.handle)
    graph.run()
    assert list(cuda.from_device(values, 2, np.int32)) == [5, 5]


def test_events_are_recorded_by_the_graph_if_asked(cuda: Any, streams: list[Any], put: Setter) -> None:
    external = bindings().CUevent_record_flags.CU_EVENT_RECORD_EXTERNAL
    events = [call("cuEventCreate", 0) for _ in range(2)]
    begin(streams[0])
    call("cuEventRecordWithFlags", events[0], streams[0].handle, external)
    put(streams[0], 0, 1)
    call("cuEventRecordWithFlags", events[1], streams[0].handle, external)
    graph = end(streams[0])
    assert len(graph.nodes()) == 3
    graph.run()
    call("cuEventSynchronize", events[1])
    assert call("cuEventElapsedTime", *events) >= 0


# ***** what breaks a capture *****


@pytest.mark.parametrize("what", ["synchronise", "query"])
def test_a_captured_stream_cannot_be_waited_for(streams: list[Any], put: Setter, what: str) -> None:
    stream = streams[0]
    begin(stream)
    put(stream, 0, 1)
    assert refusal(stream.synchronize if what == "synchronise" else stream.is_done) == CAPTURE_UNSUPPORTED
    assert status(stream) == INVALIDATED
    assert refusal(lambda: put(stream, 0, 1)) == CAPTURE_INVALIDATED
    assert refusal(lambda: end(stream)) == CAPTURE_INVALIDATED
    assert status(stream) == NONE
    put(stream, 0, 1)
    stream.synchronize()


def test_work_that_is_not_joined(cuda: Any, streams: list[Any], put: Setter) -> None:
    main, side, _ = streams
    event = cuda.Event()
    begin(main)
    put(main, 0, 1)
    event.record(main)
    side.wait_for_event(event)
    put(side, 1, 1)
    assert refusal(lambda: end(main)) == CAPTURE_UNJOINED
    assert [status(stream) for stream in (main, side)] == [NONE, NONE]


def test_a_capture_ends_where_it_began(cuda: Any, streams: list[Any], put: Setter) -> None:
    main, side, other = streams
    assert refusal(lambda: end(other)) == ILLEGAL_STATE
    event = cuda.Event()
    begin(main)
    assert refusal(lambda: begin(main)) == ILLEGAL_STATE
    put(main, 0, 1)
    event.record(main)
    side.wait_for_event(event)
    assert refusal(lambda: end(side)) == CAPTURE_UNMATCHED


def test_captures_do_not_merge(cuda: Any, streams: list[Any], put: Setter) -> None:
    first, second, _ = streams
    event = cuda.Event()
    begin(first)
    begin(second)
    put(first, 0, 1)
    event.record(first)
    assert refusal(lambda: second.wait_for_event(event)) == CAPTURE_MERGE


def test_work_outside_cannot_be_waited_for(cuda: Any, streams: list[Any], put: Setter) -> None:
    event = cuda.Event()
    put(streams[1], 0, 1)
    event.record(streams[1])
    begin(streams[0])
    put(streams[0], 1, 1)
    assert refusal(lambda: streams[0].wait_for_event(event)) == CAPTURE_ISOLATION
    assert refusal(lambda: end(streams[0])) == CAPTURE_INVALIDATED


def test_the_default_stream_would_wait_for_a_blocking_stream(cuda: Any, context: Any, put: Setter) -> None:
    blocking = cuda.Stream()
    begin(blocking)
    put(blocking, 0, 1)
    assert refusal(lambda: put(None, 1, 1)) == CAPTURE_IMPLICIT
    assert refusal(lambda: end(blocking)) == CAPTURE_INVALIDATED


def test_the_default_stream_goes_on_beside_others(cuda: Any, streams: list[Any], values: Any, put: Setter) -> None:
    begin(streams[0], RELAXED)
    put(streams[0], 0, 1)
    put(None, 1, 2)
    end(streams[0])
    assert list(cuda.from_device(values, 2, np.int32)) == [0, 2]


def test_an_event_of_a_capture_says_nothing(cuda: Any, streams: list[Any], put: Setter) -> None:
    event = cuda.Event()
    begin(streams[0], RELAXED)
    put(streams[0], 0, 1)
    event.record(streams[0])
    assert refusal(event.query) == CAPTURED_EVENT
    assert refusal(event.synchronize) == CAPTURED_EVENT


def test_an_event_serves_again_after_a_capture(cuda: Any, streams: list[Any], put: Setter) -> None:
    event = cuda.Event()
    begin(streams[0])
    put(streams[0], 0, 1)
    event.record(streams[0])
    end(streams[0])
    event.record(streams[1])
    event.synchronize()
    streams[0].wait_for_event(event)
    assert event.query()


# ***** what threads may do meanwhile *****


@pytest.mark.parametrize(
    ("mode", "expected"), [(GLOBAL, CAPTURE_UNSUPPORTED), (THREAD_LOCAL, CAPTURE_UNSUPPORTED), (RELAXED, 0)]
)
def test_unsafe_calls_of_the_thread_that_captures(
    cuda: Any, streams: list[Any], put: Setter, mode: int, expected: int
) -> None:
    begin(streams[0], mode)
    put(streams[0], 0, 1)
    assert code_of("cuMemAlloc", 1024) == expected
    assert refusal(lambda: end(streams[0])) == (CAPTURE_INVALIDATED if expected else 0)


@pytest.mark.parametrize(("mode", "expected"), [(GLOBAL, CAPTURE_UNSUPPORTED), (THREAD_LOCAL, 0), (RELAXED, 0)])
def test_unsafe_calls_of_other_threads(context: Any, streams: list[Any], put: Setter, mode: int, expected: int) -> None:
    codes: list[int] = []

    def work() -> None:
        context.push()
        try:
            codes.append(code_of("cuMemAlloc", 1024))
        finally:
            context.pop()

    begin(streams[0], mode)
    put(streams[0], 0, 1)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert codes == [expected]
    assert refusal(lambda: end(streams[0])) == (CAPTURE_INVALIDATED if expected else 0)


def test_a_thread_may_say_that_it_knows(streams: list[Any], put: Setter) -> None:
    begin(streams[0])
    put(streams[0], 0, 1)
    modes = bindings().CUstreamCaptureMode
    before = call("cuThreadExchangeStreamCaptureMode", modes(RELAXED))
    try:
        assert int(before) == GLOBAL
        call("cuMemFree", call("cuMemAlloc", 1024))
    finally:
        assert int(call("cuThreadExchangeStreamCaptureMode", before)) == RELAXED
    end(streams[0])


@pytest.mark.parametrize(("mode", "expected"), [(GLOBAL, CAPTURE_WRONG_THREAD), (RELAXED, 0)])
def test_ended_by_another_thread(context: Any, streams: list[Any], put: Setter, mode: int, expected: int) -> None:
    codes: list[int] = []

    def work() -> None:
        context.push()
        try:
            codes.append(code_of("cuStreamEndCapture", streams[0].handle))
        finally:
            context.pop()

    begin(streams[0], mode)
    put(streams[0], 0, 1)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert codes == [expected]


# ***** things that go away *****


@pytest.mark.skipif(KIND != "emulated", reason="a real driver does not say what becomes of the capture")
def test_what_is_captured_from_may_go(cuda: Any, context: Any, put: Setter) -> None:
    main, side, event = cuda.Stream(1), cuda.Stream(1), cuda.Event()
    begin(main)
    put(main, 0, 1)
    event.record(main)
    side.wait_for_event(event)
    del side
    assert code_of("cuStreamEndCapture", main.handle) == CAPTURE_INVALIDATED
    begin(main)
    put(main, 0, 1)
    del main
    call("cuMemFree", call("cuMemAlloc", 1024))


@pytest.mark.skipif(KIND != "emulated", reason="a real driver does not say what becomes of the capture")
def test_a_context_may_go_while_it_is_captured(cuda: Any, context: Any) -> None:
    other = cuda.Device(0).make_context()
    stream = call("cuStreamCreate", 1)
    call("cuStreamBeginCapture", stream, bindings().CUstreamCaptureMode(GLOBAL))
    other.pop()
    other.detach()
    call("cuMemFree", call("cuMemAlloc", 1024))
