"""An activation's log: its limit, its lines, and the sections of a process that runs several at a time."""

from __future__ import annotations

import json

import pytest

from kaas_local.openwhisk.containers.logs import Log, Sections

SENTINEL = b"XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"
OVER = " stderr: Logs were truncated because the total bytes size exceeds the limit of 1048576 bytes."


def texts(log: Log) -> list[str]:
    return [line[30:] for line in log.lines()]


def summary(activation: str) -> bytes:
    return json.dumps({"kaas": {"activation": {"activation_id": activation}}}).encode()


def write(sections: Sections, stream: str, *lines: bytes) -> None:
    for line in (*lines, SENTINEL):
        sections.add(stream, line)


#: What a line has in the record besides its text: the time, the stream, quotes and a comma.
AROUND = len('"2026-01-01T00:00:00.000000000Z stdout: ",')


@pytest.mark.parametrize(("length", "fits"), [((1 << 20) - AROUND, True), ((1 << 20) - AROUND + 1, False)])
def test_the_limit_counts_all_of_a_line(length: int, fits: bool) -> None:
    log = Log(1)
    log.add("stdout", b"x" * length)
    assert (texts(log) == [OVER]) != fits


@pytest.mark.parametrize("line", [b"", b"\0" * 1000, b"\xff" * 1000, "❄".encode() * 1000])
def test_a_record_is_no_larger_than_the_limit(line: bytes) -> None:
    log = Log(1)
    while not log.is_full:
        log.add("stdout", line)
    *before, last = log.lines()
    assert last[30:] == OVER
    size = len(json.dumps(before, ensure_ascii=False, separators=(",", ":")).encode())
    assert (1 << 20) - 10_000 < size <= (1 << 20) + 1


def test_nothing_comes_after_the_limit() -> None:
    log = Log(1)
    for line in (b"first", b"x" * (1 << 20), b"last"):
        log.add("stdout", line)
    assert texts(log) == [" stdout: first", OVER]


def test_what_is_no_utf8() -> None:
    log = Log(1)
    log.add("stdout", b"\xff \xe2\x9d\x84")
    assert texts(log) == [" stdout: \N{REPLACEMENT CHARACTER} ❄"]


def test_sections_by_the_summary_that_ends_them() -> None:
    sections = Sections(1)
    write(sections, "stdout", b"out a", summary("a"))
    write(sections, "stdout", b"out b", summary("b"))
    write(sections, "stderr", b"err a")
    write(sections, "stderr")
    assert texts(sections.take("b")) == [" stdout: out b", f" stdout: {summary('b').decode()}"]
    assert texts(sections.take("a")) == [" stdout: out a", f" stdout: {summary('a').decode()}", " stderr: err a"]


@pytest.mark.parametrize("last", [b"", b"{}", b"[1]", b"7", b'{"kaas": {"activation": {"activation_id": 7}}}'])
def test_a_section_that_names_no_activation(last: bytes) -> None:
    """As after a failed `/init`."""
    sections = Sections(1)
    write(sections, "stdout", summary("a"))
    write(sections, "stderr")
    write(sections, "stdout", last)
    write(sections, "stderr", b"error: no")
    assert " stderr: error: no" in texts(sections.take("b"))
    assert texts(sections.take("a")) == [f" stdout: {summary('a').decode()}"]


def test_an_empty_section_is_not_the_one_before() -> None:
    sections = Sections(1)
    write(sections, "stdout", summary("a"))
    write(sections, "stderr", b"one")
    write(sections, "stdout")
    write(sections, "stderr", b"two")
    assert texts(sections.take("a"))[1:] == [" stderr: one"]
    assert texts(sections.take("b")) == [" stderr: two"]


def test_a_summary_over_the_limit_still_names_its_activation() -> None:
    sections = Sections(1)
    write(sections, "stdout", b"x" * (1 << 20), summary("a"))
    write(sections, "stderr")
    assert texts(sections.take("a")) == [OVER]


def test_what_nothing_has_ended() -> None:
    """As when the process dies."""
    sections = Sections(1)
    sections.add("stderr", b"Traceback")
    assert texts(sections.take("a")) == [" stderr: Traceback"]
