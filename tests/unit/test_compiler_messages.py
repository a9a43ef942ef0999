"""What is taken from a compiler child, which has read a stranger's source."""

from __future__ import annotations

import os

import pytest
from manifest_cases import SAXPY

from kaas.errors import PlatformError
from kaas.manifest import Manifest
from kaas_pool.compiler.messages import Unit, read_answer, sealed_file

UNIT = Unit.all_of(Manifest.parse(SAXPY))[0]
COMPILED = {"type": "compiled", "signatures": {}, "log": "", "seconds": 1}


def test_an_image_is_the_file_that_was_sent() -> None:
    assert read_answer(UNIT, COMPILED, [sealed_file("image", b"ten bytes.")]).image == b"ten bytes."


@pytest.mark.parametrize("path", ["/dev/zero", "/"])
def test_an_image_that_is_no_file(path: str) -> None:
    with pytest.raises(PlatformError, match="no file"):
        read_answer(UNIT, COMPILED, [os.open(path, os.O_RDONLY)])


def test_an_image_that_is_a_pipe() -> None:
    reader, writer = os.pipe()
    with pytest.raises(PlatformError, match="no file"):
        read_answer(UNIT, COMPILED, [reader])
    os.close(writer)
