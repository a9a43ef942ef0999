"""From the bytes that kernels print to the lines of a log."""

from __future__ import annotations

import re

import pytest

from kaas.messages import LogLine
from kaas_pool import printed as printed_module
from kaas_pool.printed import MAX_BYTES, MAX_LINES, Printed, printed_lines

TIME = 1_700_000_000.25


def lines(*parts: bytes) -> list[tuple[str, str]]:
    printed = Printed()
    for part in parts:
        printed.add(part)
    return [(line.stream, line.line) for line in printed_lines(printed.to_json(), TIME)]


def test_lines_have_their_time_and_stream() -> None:
    printed = Printed()
    printed.add(b"one\ntwo\n")
    stamp = "2023-11-14T22:13:20.250Z"
    assert printed_lines(printed.to_json(), TIME) == (LogLine(stamp, "stdout", "one"), LogLine(stamp, "stdout", "two"))


def test_nothing_printed_is_nothing_told() -> None:
    assert Printed().to_json() == {}
    assert lines() == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a\n\nb", ["a", "", "b"]),
        (b"a\r\nb\n", ["a", "b"]),
        (b"a\tb", ["a\tb"]),
        (b"\x1b[31mred\x07\x00\x7f", [r"\x1b[31mred\x07\x00\x7f"]),
        (b"one\rother", [r"one\rother"]),
        (b"\xff\xe2\x82", ["��"]),
        ("€ ☃".encode(), ["€ ☃"]),
        ("\x85\u2028\u202e".encode(), [r"\x85\u2028\u202e"]),
        ("\u200b\ue000\U000e0041.\u3000é😀".encode(), ["\\u200b\\ue000\\U000e0041.\u3000é😀"]),
    ],
)
def test_what_a_terminal_or_a_log_would_take_for_more_than_text(text: bytes, expected: list[str]) -> None:
    assert lines(text) == [("stdout", line) for line in expected]


def test_texts_that_come_in_parts() -> None:
    assert lines(b"\xe2\x82", b"\xac in parts\nand", b" more") == [("stdout", "€ in parts"), ("stdout", "and more")]


def test_what_is_over_the_limit_is_counted() -> None:
    found = lines(b"x" * MAX_BYTES, b"y" * 100, b"z")
    assert found[0] == ("stdout", "x" * MAX_BYTES)
    [(stream, told)] = found[1:]
    assert stream == "stderr"
    assert "at least 101 bytes are left out" in told


def test_lines_have_a_limit_too() -> None:
    found = lines(b"\n" * MAX_LINES + b"and this")
    assert len(found) == MAX_LINES + 1
    assert "at least 8 bytes are left out" in found[-1][1]
    assert lines(b"\n" * MAX_LINES) == [("stdout", "")] * MAX_LINES


@pytest.mark.parametrize("part", ["\0", "\0a", "\x1b[1m", "é\u2028", "\0\n"])
def test_the_limit_is_of_the_lines_as_they_are_written(part: str) -> None:
    text = part * (MAX_BYTES // len(part.encode()))
    *found, (stream, told) = lines(text.encode())
    shown = "\n".join(line for _, line in found).encode()
    assert MAX_BYTES - 4 <= len(shown) <= MAX_BYTES or len(found) == MAX_LINES
    assert stream == "stderr"
    [left_out] = map(int, re.findall(r"at least (\d+) bytes are left out", told))
    assert 0 < left_out <= len("".join(one if one == "\n" else ascii(one)[1:-1] for one in text)) - len(shown)


def test_long_texts_are_escaped_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def escaped(found: re.Match[str]) -> str:
        steps.append(found[0])
        return r"\x00" * len(found[0])

    monkeypatch.setattr(printed_module, "_escaped", escaped)
    assert len(lines(b"\0a" * (MAX_BYTES // 2))) == 2
    assert 10_000 < len(steps) < 16_000
    steps.clear()
    lines(b"\0" * MAX_BYTES)
    assert 1 <= len(steps) <= MAX_BYTES // 4096


def test_an_executor_that_says_too_much() -> None:
    [line] = printed_lines({"text": "x" * 10 * MAX_BYTES, "left_out": 0}, TIME)
    assert len(line.line) == MAX_BYTES


def test_among_others_nothing_is_told_but_that() -> None:
    printed = Printed()
    printed.crowd()
    assert printed.to_json() == {}
    printed.add(b"somebody's")
    for crowded in (printed, _crowded_later()):
        [line] = printed_lines(crowded.to_json(), TIME)
        assert line.stream == "stderr"
        assert "left out: other invocations computed" in line.line


def _crowded_later() -> Printed:
    printed = Printed()
    printed.add(b"mine")
    printed.crowd()
    assert not printed.data
    return printed
