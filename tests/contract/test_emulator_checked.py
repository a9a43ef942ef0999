"""The emulator's checked mode: what is out of bounds by a byte, was freed, or was never written; and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract_device import KERNELS, KIND, compile_file
from fresh_process import run

import kaas_emulator
from kaas_emulator import EmulatorError, checked, toolchain
from kaas_emulator.settings import CHECKED

pytestmark = pytest.mark.skipif(KIND != "emulated", reason="about the emulated device")

HERE = Path(__file__).parent
ON = {CHECKED: "1"}
LINES = (KERNELS / "bounds.cu").read_text().splitlines()

#: kernel, bytes of its buffers, its other argument, threads, blocks
Case = tuple[str, list[int], int, int, int]

WITHIN: list[Case] = [
    ("read_byte", [4001, 1], 4000, 1, 1),
    ("write_byte", [4001], 4000, 1, 1),
    ("read_half", [4002, 2], 2000, 1, 1),
    ("write_float", [4000], 999, 1, 1),
    ("write_double", [4000], 499, 1, 1),
    ("read_vector", [4000, 16], 249, 1, 1),
    ("write_vector", [4000], 249, 1, 1),
    ("copy_body", [72, 36], 1, 1, 1),
    ("copy_bytes", [1001, 1001], 1001, 1, 1),
    ("copy_bytes", [1001, 1001], 0, 1, 1),
    ("copy_twelve", [1001, 12], 989, 1, 1),
    ("fill_bytes", [1001], 1001, 1, 1),
    ("add_int", [4000], 999, 1, 1),
    ("add_float", [4000], 999, 1, 1),
    ("swap_long", [4000], 499, 1, 1),
    ("add_half", [4002], 2000, 1, 1),
    ("load_once", [4000, 4], 999, 1, 1),
    ("scale", [4000], 999, 256, 4),
    ("after_wait", [4000], 999, 64, 1),
    ("write_fixed", [24], 0, 1, 1),
    ("write_both", [20], 0, 1, 1),
    ("write_five", [20], 0, 1, 1),
    ("add_often", [20], 4, 1, 1),
    ("frexp_float", [16], 3, 1, 1),
    ("frexp_double", [16], 3, 1, 1),
    ("modf_float", [16], 3, 1, 1),
    ("modf_double", [16], 1, 1, 1),
    ("remquo_float", [16], 3, 1, 1),
    ("remquo_double", [16], 3, 1, 1),
    ("sincos_float", [16], 3, 1, 1),
    ("sincos_double", [16], 1, 1, 1),
    ("sincospi_float", [16], 3, 1, 1),
    ("sincospi_double", [16], 1, 1, 1),
    ("length_float", [16], 4, 1, 1),
    ("print_text", [3], 0, 1, 1),
    ("print_part", [3], 3, 1, 1),
    ("print_as", [3], 0, 1, 1),
    ("print_count", [16], 7, 1, 1),
]

END = "just past the end of buffer x of"
#: What is told of each: the access, and where it is.
BEYOND: list[tuple[Case, str, str]] = [
    (("read_byte", [4001, 1], 4001, 1, 1), "read of 1 byte", f"{END} 4001 bytes"),
    (("read_byte", [4001, 1], -1, 1, 1), "read of 1 byte", "1 byte before the start of buffer x of 4001 bytes"),
    (("read_byte", [1, 1], 300, 1, 1), "read of 1 byte", "299 bytes past the end of buffer x of 1 byte"),
    (("write_byte", [4001], 4001, 1, 1), "write of 1 byte", f"{END} 4001 bytes"),
    (("write_byte", [4001], -1, 1, 1), "write of 1 byte", "1 byte before the start of buffer x of 4001 bytes"),
    (("read_half", [4001, 2], 2000, 1, 1), "read of 2 bytes", "1 of them past the end of buffer x of 4001 bytes"),
    (("write_float", [4000], 1000, 1, 1), "write of 4 bytes", f"{END} 4000 bytes"),
    (("write_float", [4003], 1000, 1, 1), "write of 4 bytes", "1 of them past the end of buffer x of 4003 bytes"),
    (("write_float", [4000], -1, 1, 1), "write of 4 bytes", "4 bytes before the start of buffer x of 4000 bytes"),
    (("write_double", [4004], 500, 1, 1), "write of 8 bytes", "4 of them past the end of buffer x of 4004 bytes"),
    (("read_vector", [4008, 16], 250, 1, 1), "read of 16 bytes", "8 of them past the end of buffer x of 4008 bytes"),
    (("write_vector", [4015], 250, 1, 1), r"write of \d+ bytes", r"1 of them past the end of buffer x of 4015 bytes"),
    (("copy_body", [71, 36], 1, 1, 1), "read of 36 bytes", "1 of them past the end of buffer x of 71 bytes"),
    (("copy_bytes", [100, 999], 101, 1, 1), "read of 101 bytes", "1 of them past the end of buffer x of 100 bytes"),
    (("copy_bytes", [999, 100], 101, 1, 1), "write of 101 bytes", "1 of them past the end of a buffer of 100 bytes"),
    (("copy_twelve", [1001, 12], 990, 1, 1), "read of 12 bytes", "1 of them past the end of buffer x of 1001 bytes"),
    (("fill_bytes", [1001], 1002, 1, 1), "write of 1002 bytes", "1 of them past the end of buffer x of 1001 bytes"),
    (("fill_bytes", [1001], -1, 1, 1), r"write of 18446744073709551615 bytes", r"\d+ of them past the end of .*"),
    (("add_int", [4000], 1000, 1, 1), "write of 4 bytes", f"{END} 4000 bytes"),
    (("add_float", [4000], 1000, 1, 1), "read of 4 bytes", f"{END} 4000 bytes"),
    (("swap_long", [4000], 500, 1, 1), "write of 8 bytes", f"{END} 4000 bytes"),
    (("add_half", [4001], 2000, 1, 1), r"(read|write) of \d bytes", r".* of buffer x of 4001 bytes"),
    (("load_once", [4000, 4], 1000, 1, 1), "read of 4 bytes", f"{END} 4000 bytes"),
    (("scale", [4000], 1000, 256, 4), "read of 4 bytes", f"{END} 4000 bytes"),
    (("after_wait", [4000], 1000, 64, 1), "write of 4 bytes", f"{END} 4000 bytes"),
    (("write_fixed", [20], 0, 1, 1), "write of 4 bytes", f"{END} 20 bytes"),
    (("write_both", [16], 0, 1, 1), "write of 4 bytes", f"{END} 16 bytes"),
    (("write_five", [16], 0, 1, 1), "write of 4 bytes", f"{END} 16 bytes"),
    (("add_often", [16], 4, 1, 1), "read of 4 bytes", f"{END} 16 bytes"),
    (("frexp_float", [16], 4, 1, 1), "write of 4 bytes", f"{END} 16 bytes"),
    (("frexp_double", [16], 4, 1, 1), "write of 4 bytes", f"{END} 16 bytes"),
    (("modf_float", [16], 4, 1, 1), "write of 4 bytes", f"{END} 16 bytes"),
    (("modf_double", [16], 2, 1, 1), "write of 8 bytes", f"{END} 16 bytes"),
    (("remquo_float", [16], 4, 1, 1), "write of 4 bytes", f"{END} 16 bytes"),
    (("remquo_double", [16], 4, 1, 1), "write of 4 bytes", f"{END} 16 bytes"),
    (("sincos_float", [16], 4, 1, 1), "write of 4 bytes", f"{END} 16 bytes"),
    (("sincos_double", [16], 2, 1, 1), "write of 8 bytes", f"{END} 16 bytes"),
    (("sincospi_float", [16], 4, 1, 1), "write of 4 bytes", f"{END} 16 bytes"),
    (("sincospi_double", [16], 2, 1, 1), "write of 8 bytes", f"{END} 16 bytes"),
    (("length_float", [16], 5, 1, 1), "read of 4 bytes", f"{END} 16 bytes"),
    (("print_text", [3], 1, 1, 1), "read of 1 byte", f"{END} 3 bytes"),
    (("print_part", [3], 4, 1, 1), "read of 1 byte", f"{END} 3 bytes"),
    (("print_as", [3], 1, 1, 1), "read of 1 byte", f"{END} 3 bytes"),
    (("print_count", [17], 8, 1, 1), "write of 2 bytes", "1 of them past the end of buffer x of 17 bytes"),
]  # fmt: skip
#: Where the thread is not the first of the first block.
THREADS = {"scale": "block (3,0,0), thread (232,0,0)", "after_wait": "block (0,0,0), thread (5,0,0)"}


@pytest.fixture(scope="module", autouse=True)
def library() -> Path:
    """Built before any process that has so many seconds needs it."""
    return kaas_emulator.library_path()


@cache
def told() -> list[str]:
    """What is told of the cases `WITHIN`, then of those `BEYOND`."""
    answers, _ = run("checked_programs.accesses", "bounds", [*WITHIN, *(case for case, *_ in BEYOND)], **ON)
    return list(answers)


def line_of(kernel: str) -> int:
    """The line of the access: the one of `LINES` marked "here" for functions of several."""
    start = next(number for number, line in enumerate(LINES) if f" void {kernel}" in line)
    return next(n for n in range(start, len(LINES)) if "// here" in LINES[n] or LINES[n].endswith("; }")) + 1


@pytest.mark.parametrize("at", range(len(WITHIN)), ids=[f"{case[0]}-{case[1][0]}-{case[2]}" for case in WITHIN])
def test_what_is_within_bounds_passes(at: int) -> None:
    assert told()[at] == ""


@pytest.mark.parametrize("at", range(len(BEYOND)), ids=[f"{case[0]}-{case[1][0]}-{case[2]}" for case, *_ in BEYOND])
def test_what_is_out_of_bounds_by_a_byte_is_told(at: int) -> None:
    (kernel, *_), access, where = BEYOND[at]
    line = line_of("scale_all" if kernel == "scale" else kernel)
    place = THREADS.get(kernel, "block (0,0,0), thread (0,0,0)")
    told_of = rf"{kernel} \(bounds\.cu:{line}\): a {access} at address 0x[0-9a-f]+, {where} in {re.escape(place)}"
    assert re.fullmatch(told_of, told()[len(WITHIN) + at]), told()[len(WITHIN) + at]


def test_nodes_of_graphs_are_checked() -> None:
    assert run("checked_programs.in_a_graph", 4000, [0, 999], **ON)[0] == ""
    found = run("checked_programs.in_a_graph", 4000, [0, 1000], **ON)[0]
    assert f"write_float (bounds.cu:{line_of('write_float')}): a write of 4 bytes" in found
    assert f"{END} 4000 bytes" in found


def lines_that_can_fail() -> list[Case]:
    """Of lines.cu: each line of each kernel that looks at its argument."""
    kernel, cases = "", []
    for number, line in enumerate((KERNELS / "lines.cu").read_text().splitlines(), 1):
        if found := re.search(r"__global__ void (\w+)", line):
            kernel = found[1]
        elif kernel and re.search(r"\b(AT|AS|HERE)\b", line):
            cases.append((kernel, [32], number, 1, 1))
    return cases


def test_the_line_is_that_of_the_access() -> None:
    cases = lines_that_can_fail()
    told_of, _ = run(
        "checked_programs.accesses", "lines", [*cases, *((kernel, [32], 0, 1, 1) for kernel, *_ in cases)], **ON
    )
    assert len(cases) > 40
    assert not any(told_of[len(cases) :])
    wrong = [one for one, (*_, line, _, _) in zip(told_of, cases, strict=False) if f"(lines.cu:{line}): a " not in one]
    assert wrong == []


@pytest.mark.parametrize(("kernel", "others"), [("write_float", 0), ("write_float", 200), ("modf_float", 0)])
def test_a_freed_buffer_is_told_and_its_address_kept_back(kernel: str, others: int) -> None:
    found, reused = run("checked_programs.after_free", kernel, others, **ON)[0]
    assert "28 bytes into buffer x of 4000 bytes that was freed in block" in found
    assert not reused


def test_addresses_that_are_kept_back_do_not_run_out() -> None:
    addresses, _ = run("checked_programs.many_large", 50, **ON, KAAS_EMULATOR_MEMORY="512M")
    assert 1 < len(set(addresses)) < 50


def test_fresh_memory_holds_no_numbers() -> None:
    found, _ = run("checked_programs.fresh_memory", **ON)
    assert len(found) == 8
    assert all(found.values()), found


def test_the_hosts_copies_and_sets_are_checked() -> None:
    answers, _ = run("checked_programs.host_calls", **ON)
    fine = {what for what, status in answers.items() if status == "ok"}
    assert fine == {"to device 1001", "to host 1001", "set 1001", "between 1001"}
    assert set(answers.values()) == {"ok", "invalid argument"}


def test_memory_that_is_no_buffer_passes() -> None:
    *out, mapped = run("checked_programs.everything", **ON)[0]
    own = [[1.0, 2.0, 4.0][(at // 8 * 8 + at % 8) % 3] for at in range(32)]
    part = [float((at % 8 - at) % 8) for at in range(32)]
    assert np.allclose(out, [part[31 - at] + own[at] * 8 + 1 for at in range(32)])
    assert mapped == 1


# ***** images *****


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The same source compiled without checks and with them: paths by the variable's value."""
    paths = {}
    for value in ("0", "1"):
        monkeypatch.setenv(CHECKED, value)
        path = tmp_path / value
        path.write_bytes(compile_file.__wrapped__("control").image)
        paths[value] = str(path)
    return paths


def test_an_image_of_the_other_mode_is_refused(images: dict[str, str]) -> None:
    answers: dict[Any, str] = {
        (image, mode): run("checked_programs.load", images[image], **{CHECKED: mode})[0]
        for image in images
        for mode in images
    }
    assert answers["0", "0"] == answers["1", "1"] == "ok"
    assert "The image was compiled without the checks of KAAS_EMULATOR_CHECKED" in answers["0", "1"]
    assert "The image was compiled with the checks of KAAS_EMULATOR_CHECKED" in answers["1", "0"]


def test_the_mode_is_part_of_what_names_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for value in ("", "0", "1"):
        monkeypatch.setenv(CHECKED, value)
        found[value] = toolchain.fingerprint()
        assert checked() == (value == "1")
    assert found[""] == found["0"] != found["1"]


def test_a_mode_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    (code, refused), _ = run("refusal", **{CHECKED: "yes"})
    assert code == "CUDA_ERROR_INVALID_VALUE"
    assert refused.startswith('KAAS_EMULATOR_CHECKED is "yes"; it must be')
    monkeypatch.setenv(CHECKED, "yes")
    with pytest.raises(EmulatorError, match='KAAS_EMULATOR_CHECKED is "yes"; it must be 0 or 1'):
        toolchain.fingerprint()


# ***** nothing is told of kernels that are right *****


def passes(files: list[str]) -> None:
    """These tests pass in the checked mode as well."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=HERE, env={**os.environ, **ON}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_sums_and_variables_pass() -> None:
    passes(["test_gallery_sums.py", "test_driver_globals.py"])


@pytest.mark.slow
@pytest.mark.parametrize("which", ["test_gallery_*.py", "test_kernel_*.py"])
def test_all_kernels_pass(which: str) -> None:
    passes(sorted(path.name for path in HERE.glob(which) if path.name != "test_gallery_nvrtc.py"))
