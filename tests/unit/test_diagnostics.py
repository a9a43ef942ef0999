"""Compilers' messages as authors see them."""

from __future__ import annotations

import pytest

from kaas_pool.compiler.diagnostics import MAX_LINES, Diagnostics, first_error, from_first_error

ROOT = "/var/kaas/run/compiler-7/bundle"
FILES = {"saxpy.cu": b'#include "/etc/passwd"\n#include "lib/util.h"', "lib/util.h": b"int q;"}


def lines(text: str) -> list[str]:
    return Diagnostics(ROOT, FILES).lines(text)


@pytest.mark.parametrize(
    "printed",
    [
        "saxpy.cu:7:12: error: 'yy' was not declared in this scope",
        f"{ROOT}/saxpy.cu:7:12: error: 'yy' was not declared in this scope",
        "./saxpy.cu:7:12: error: 'yy' was not declared in this scope",
    ],
)
def test_gcc_error_is_on_the_authors_file(printed: str) -> None:
    told = lines(f"{printed}\n    z[i] = yy;\n           ^~\ncompilation terminated.\n")
    assert told == [
        "saxpy.cu:7:12: error: 'yy' was not declared in this scope",
        "    z[i] = yy;",
        "           ^~",
    ]
    assert first_error(told) == ("saxpy.cu:7:12", "'yy' was not declared in this scope")


def test_nvrtc_error_has_the_same_form() -> None:
    printed = 'saxpy.cu(7): error: identifier "yy" is undefined\n    z[i] = yy;\n           ^\n'
    told = lines(printed + '\n1 error detected in the compilation of "saxpy.cu".\n')
    assert len(told) == 3
    assert told[0] == 'saxpy.cu:7: error: identifier "yy" is undefined'
    assert first_error(told) == ("saxpy.cu:7", 'identifier "yy" is undefined')


def test_lines_of_other_files_stay_out() -> None:
    told = lines(
        "In file included from saxpy.cu:1:\n"
        "/etc/shadow:1:1: error: 'root' does not name a type\n"
        "    1 | root:x:0:0:root:/root:/bin/bash\n"
        "      | ^~~~\n"
        '/etc/passwd(1): error: expected a ";"\n'
        "  root:x:0:0:root:/root:/bin/bash\n"
        "      ^\n"
        "saxpy.cu:3:1: error: expected ';'\n"
        "    3 | int x\n"
    )
    assert not [line for line in told if "/bin/bash" in line or "/etc/" in line]
    assert told[-1] == "    3 | int x"


def test_paths_of_this_machine_are_cut_to_names() -> None:
    told = lines(
        "In file included from /usr/lib/gcc/x86_64-linux-gnu/12/include/immintrin.h:43,\n"
        f"                 from {ROOT}/lib/util.h:1,\n"
        "                 from saxpy.cu:2:\n"
        "/home/pool/.cache/kaas/emulator/device-1/kaas_device.h:9:2: note: declared here\n"
        "cc1plus: error: cannot open '/home/pool/secret/x': no\n"
    )
    text = "\n".join(told)
    assert "/usr" not in text
    assert "/home" not in text
    assert "/var" not in text
    assert "from lib/util.h:1," in text
    assert "immintrin.h:43" in text


def test_a_path_that_the_author_wrote_may_stay() -> None:
    told = lines("saxpy.cu:1:10: fatal error: /etc/passwd: Permission denied\n")
    assert told == ["saxpy.cu:1:10: fatal error: /etc/passwd: Permission denied"]


def test_slashes_that_are_no_paths_stay() -> None:
    assert lines("saxpy.cu:1: error: bad a/b or 1/2")[0].endswith("bad a/b or 1/2")


def test_many_lines_are_cut() -> None:
    told = lines("\n".join(f"saxpy.cu:{number}: error: wrong" for number in range(1, 500)))
    assert len(told) == MAX_LINES
    assert told[-1] == f"... and {499 - MAX_LINES + 1} more lines"


def test_no_message_at_all_is_told_as_such() -> None:
    assert first_error(lines("")) == (None, "the compiler failed without a message")


def test_a_message_beside_its_place_begins_with_what_the_error_says() -> None:
    told = lines(
        "In file included from saxpy.cu:2:\n"
        "saxpy.cu: In function 'void f()':\n"
        "saxpy.cu:7:12: error: no y\n"
        "    7 |   y\n"
        "saxpy.cu:9:1: error: no z\n"
    )
    assert first_error(told)[0] == "saxpy.cu:7:12"
    assert from_first_error(told) == [
        "no y",
        "    7 |   y",
        "saxpy.cu:9:1: error: no z",
        "In file included from saxpy.cu:2:",
    ]
    assert from_first_error(["something else"]) == ["something else"]
