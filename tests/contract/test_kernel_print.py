"""printf in kernels: what arrives on the process's standard output, and when."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from contract_device import KIND, Module

Capture = pytest.CaptureFixture[str]
MIB = 1 << 20


def printed(capture: Capture) -> list[str]:
    """The lines on standard output since the last call."""
    ctypes.CDLL(None).fflush(None)  # a real driver may leave them in the C library's buffer
    return capture.readouterr().out.splitlines()


def test_formats(context: Any, capfd: Capture) -> None:
    Module("print")["hello"](np.int32(3), np.float32(0.25), block=(8, 1, 1))
    context.synchronize()
    expected = [f"thread {i} of 3: {i * 0.25:6.2f} text {'abc'[i]}|{-i:5}|{i:<5}|10000000000" for i in range(3)]
    assert sorted(printed(capfd)) == expected


def test_what_it_answers(cuda: Any, context: Any, capfd: Capture) -> None:
    out = np.zeros(3, np.int32)
    Module("print")["counts"](cuda.Out(out), block=(1, 1, 1))
    assert list(out) == [0, 2, -1]
    assert printed(capfd) == ["no arguments, 100 %", "1 2.000000"]


@pytest.mark.parametrize("wait", ["stream", "event", "context", "copy", "destruction of a module"])
def test_it_is_written_when_the_host_waits(cuda: Any, context: Any, capfd: Capture, wait: str) -> None:
    module = Module("print")
    stream, event = cuda.Stream(), cuda.Event()
    module["hello"](np.int32(1), np.float32(1), block=(1, 1, 1), stream=stream)
    event.record(stream)
    while not event.query():
        pass
    assert printed(capfd) == []
    if wait == "stream":
        stream.synchronize()
    elif wait == "event":
        event.synchronize()
    elif wait == "context":
        context.synchronize()
    elif wait == "copy":
        cuda.memcpy_dtoh(np.empty(4, np.uint8), cuda.mem_alloc(4))
    else:
        del module
    assert len(printed(capfd)) == 1


def test_lines_of_many_blocks_stay_whole(context: Any, capfd: Capture) -> None:
    Module("print")["fill"](np.int32(5), block=(32, 1, 1), grid=(64, 1))
    context.synchronize()
    expected = {f"block {b:3} thread {t:3} line {line:6}" for b in range(64) for t in range(32) for line in range(5)}
    lines = printed(capfd)
    assert len(lines) == len(expected)
    assert set(lines) == expected


def test_order_within_a_block(cuda: Any, context: Any, capfd: Capture) -> None:
    Module("print")["between_barriers"](np.uintp(0), block=(64, 1, 1))
    context.synchronize()
    assert printed(capfd) == ["first", "second"]


@pytest.mark.skipif(KIND != "emulated", reason="about the emulated device: a GPU's buffer drops the oldest instead")
def test_what_does_not_fit_is_dropped_and_told(cuda: Any, context: Any, capfd: Capture) -> None:
    line = len("block   0 thread   0 line      0\n")
    module = Module("print")  # taking it down writes what is there
    module["fill"](np.int32(MIB // line + 100), block=(1, 1, 1))
    context.synchronize()
    text = capfd.readouterr()
    assert len(text.out) == MIB // line * line
    assert "what 100 calls of printf in kernels wrote is lost" in text.err
    context.set_limit(cuda.limit.PRINTF_FIFO_SIZE, 4 * MIB)
    module["fill"](np.int32(MIB // line + 100), block=(1, 1, 1))
    context.synchronize()
    assert len(printed(capfd)) == MIB // line + 100


@pytest.mark.skipif(KIND != "emulated", reason="about the emulated device")
def test_a_text_longer_than_the_first_try(context: Any, capfd: Capture) -> None:
    Module("print")["longer_than_a_line"](block=(1, 1, 1))
    context.synchronize()
    assert printed(capfd) == [" " * 1999 + "7|"]


@pytest.mark.skipif(KIND != "emulated", reason="about the emulated device: a GPU's output may be lost with the context")
@pytest.mark.parametrize(("kernel", "text"), [("before_a_fault", ["before"]), ("of_no_address", [])])
def test_a_fault_does_not_lose_it(cuda: Any, context: Any, capfd: Capture, kernel: str, text: list[str]) -> None:
    Module("print")[kernel](np.uintp(0x10), block=(1, 1, 1))
    with pytest.raises(cuda.LogicError, match="an illegal memory access"):
        context.synchronize()
    assert printed(capfd) == text
