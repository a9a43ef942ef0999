"""What is taken from a compiler child, which has read a stranger's source."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from manifest_cases import SAXPY

from kaas.errors import AuthorError, KaasError
from kaas.manifest import Manifest
from kaas_pool.compiler.answers import CODES, read_answer
from kaas_pool.compiler.messages import CompiledSource, Unit, sealed_file
from kaas_pool.compiler.signatures import read_signatures

UNIT = Unit.all_of(Manifest.parse(SAXPY))[0]
READ = read_signatures('extern "C" __global__ void saxpy(float a, const float *x, Mystery m) {}')[0]
SIGNATURE = json.loads(json.dumps(READ.to_json()))
COMPILED: dict[str, Any] = {"type": "compiled", "signatures": {"saxpy": SIGNATURE}, "log": "", "seconds": 1}


def read(frame: dict[str, Any], images: int = 1) -> CompiledSource:
    return read_answer(UNIT, frame, [sealed_file("image", b"ten bytes.") for _ in range(images)])


def with_signature(**fields: Any) -> dict[str, Any]:
    return {**COMPILED, "signatures": {"saxpy": {**SIGNATURE, **fields}}}


def with_parameter(**fields: Any) -> dict[str, Any]:
    first, *others = SIGNATURE["parameters"]
    return with_signature(parameters=[{**first, **fields}, *others])


def test_an_image_is_the_file_that_was_sent() -> None:
    others = {"other": SIGNATURE, "another": None}
    compiled = read({**COMPILED, "signatures": {**COMPILED["signatures"], **others}})
    assert compiled.image == b"ten bytes."
    assert compiled.signatures == COMPILED["signatures"], "of the kernels that were asked for"


@pytest.mark.parametrize("path", ["/dev/zero", "/"])
def test_an_image_that_is_no_file(path: str) -> None:
    with pytest.raises(AuthorError, match="no file"):
        read_answer(UNIT, COMPILED, [os.open(path, os.O_RDONLY)])


def test_an_image_that_is_a_pipe() -> None:
    reader, writer = os.pipe()
    with pytest.raises(AuthorError, match="no file"):
        read_answer(UNIT, COMPILED, [reader])
    os.close(writer)


SECONDS: list[Any] = [None, "1", True, [], -1, math.nan, math.inf, 10**4000]
LIES: list[dict[str, Any]] = [
    {"type": "made_up"},
    {"type": "compiled"},
    {**COMPILED, "signatures": None},
    {**COMPILED, "signatures": []},
    {**COMPILED, "signatures": {}},
    {**COMPILED, "signatures": {"saxpy": None}},
    {**COMPILED, "signatures": {"saxpy": {}}},
    {**COMPILED, "signatures": {"saxpy": {"parameters": []}}},
    {**COMPILED, "log": {}},
    {**COMPILED, "log": None},
    {**COMPILED, "log": ["x"]},
    {**COMPILED, "log": "x" * ((1 << 20) + 1)},
    *({**COMPILED, "seconds": told} for told in SECONDS),
    with_signature(more=1),
    with_signature(parameters={}),
    with_signature(parameters=[None]),
    with_signature(symbol=None),
    with_signature(symbol="x" * ((1 << 20) + 1)),
    with_signature(extern_c=1),
    with_signature(line="1"),
    with_signature(line=True),
    with_signature(static_shared=-1),
    with_signature(static_shared=1 << 40),
    with_signature(most_threads=1.5),
    with_parameter(type=[]),
    with_parameter(name=1),
    with_parameter(is_pointer="yes"),
    with_parameter(size_bytes=math.nan),
    with_parameter(size_bytes=-1),
    with_parameter(more=1),
    {"type": "error"},
    {"type": "error", "error": "x"},
    {"type": "error", "error": []},
    {"type": "error", "error": {"message": "m"}},
    {"type": "error", "error": {"code": [], "message": "m"}},
    {"type": "error", "error": {"code": "made_up", "message": "m"}},
    {"type": "error", "error": {"code": "unauthenticated", "message": "m"}},
    {"type": "error", "error": {"code": "pool_busy", "message": "m"}},
    {"type": "error", "error": {"code": "compile_error"}},
    {"type": "error", "error": {"code": "compile_error", "message": {}}},
    {"type": "error", "error": {"code": "compile_error", "message": "m", "hint": 1}},
    {"type": "error", "error": {"code": "compile_error", "message": "m", "where": ["a"]}},
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: str(lie)[:80])
def test_lies_end_as_a_compile_that_failed(lie: dict[str, Any]) -> None:
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(AuthorError, match="the compiler's answer is none: ") as caught:
        read(lie)
    assert (caught.value.code, caught.value.where) == ("compile_error", UNIT.name)
    assert len(str(caught.value)) < 300
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before


@pytest.mark.parametrize("count", [0, 2])
def test_one_image_comes_with_an_answer(count: int) -> None:
    with pytest.raises(AuthorError, match=f"{count} images"):
        read(COMPILED, count)


def test_an_image_with_nothing_in_it() -> None:
    with pytest.raises(AuthorError, match="empty"):
        read_answer(UNIT, COMPILED, [sealed_file("image", b"")])


@pytest.mark.parametrize("code", sorted(CODES))
def test_an_error_keeps_its_code_and_nothing_that_is_not_the_compilers_to_say(code: str) -> None:
    told = {"code": code, "message": "m\x1b[2J\nn", "hint": "h", "where": "w", "retry_after_ms": 1, "activation": "a"}
    with pytest.raises(KaasError) as caught:
        read({"type": "error", "error": told}, 0)
    assert caught.value.to_json() == {"code": code, "message": "m\\x1b[2J\nn", "hint": "h", "where": "w"}
