"""docs/emulator.md against the code: the driver's functions, and one line of every function of the device language; and
cuda-emulator/README.md: the variables, faults and delays.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_device import KIND

import kaas_emulator
from kaas_emulator import CompileFailed, toolchain
from kaas_pool.compiler import nvrtc

PAGE = Path(__file__).parents[2] / "docs" / "emulator.md"
EMULATOR = Path(kaas_emulator.__file__).parents[1]
UNSUPPORTED = EMULATOR / "driver" / "api_unsupported.cpp"
README = EMULATOR / "README.md"
HEAD = """\
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
#include <cuda_fp16.h>
namespace cg = cooperative_groups;
extern "C" __global__ void every(int i, unsigned u, long long l, unsigned long long ul, unsigned short us, float f,
                                 double d, float2 f2, float4 f4, int4 i4, half h, half2 h2, void* p) {
const auto block = cg::this_thread_block(); const auto tile = cg::tiled_partition<32>(block);
"""
FIRST_LINE = HEAD.count("\n") + 1


def section(title: str, level: int = 2, page: Path = PAGE) -> str:
    """The text below a heading, up to the next of its level."""
    mark = "#" * level
    found = re.search(rf"^{mark} {re.escape(title)}$(.*?)(?=^#{{1,{level}}} |\Z)", page.read_text(), re.M | re.S)
    assert found, f"{page.name} has no heading {title!r}"
    return found[1]


def expand(text: str) -> Iterator[str]:
    """`a{b,c}` as a shell would."""
    found = re.search(r"\{([^{}]*)\}", text)
    if found is None:
        yield text
        return
    for choice in found[1].split(","):
        yield from expand(text[: found.start()] + choice + text[found.end() :])


def items(text: str) -> list[str]:
    """What stands between backticks in the rows of tables."""
    rows = "\n".join(line for line in text.splitlines() if line.startswith("| "))
    return [one for code in re.findall(r"`([^`]+)`", rows) for one in expand(code)]


def without_version(name: str) -> str:
    return re.sub(r"_v\d+$", "", name)


@pytest.mark.skipif(KIND != "emulated", reason="about the emulated device")
def test_the_drivers_functions() -> None:
    listing = subprocess.run(["nm", "-D", kaas_emulator.library_path()], capture_output=True, text=True, check=True)
    exported = {fields[-1] for line in listing.stdout.splitlines() if (fields := line.split())[-2] in "TW"}
    missing = set(re.findall(r"^KAAS_(?:UNSUPPORTED\(|EXPORT )(\w+)", UNSUPPORTED.read_text(), re.MULTILINE))
    for heading, functions in ("Emulated", exported - missing), ("Not emulated", missing):
        listed = items(section(heading, 3))
        actual = {without_version(name) for name in functions if name.startswith("cu")}
        assert len(listed) == len(set(listed)), f"twice under {heading}"
        absent, extra = actual - set(listed), set(listed) - actual
        assert not absent, f"add to the table {heading!r} of docs/emulator.md: {sorted(absent)}"
        assert not extra, f"docs/emulator.md lists under {heading!r} what the driver does not export: {sorted(extra)}"


def lines() -> list[str]:
    """A statement for every function and type of the device language's tables."""
    text = section("The device language")
    types = items(section("Types", 3))
    return [f"sizeof({item});" if item in types else f"{item};" for item in items(text)]


def source() -> str:
    return HEAD + "".join(f"{{ {line} }}\n" for line in lines()) + "}\n"


@pytest.mark.skipif(KIND != "emulated", reason="about the emulated device")
def test_the_device_language_on_the_emulator(tmp_path: Path) -> None:
    path = tmp_path / "every.cu"
    path.write_text(source())
    try:
        image = toolchain.compile_image(path, ["every"], includes=[], defines={}, workdir=tmp_path)
    except CompileFailed as failed:
        pytest.fail(failed.log)
    assert image.startswith(b"\x7fELF")
    assert len(lines()) > 1000


def test_the_device_language_on_a_gpu() -> None:
    cubin = nvrtc.compile_cubin(
        source(),
        "every.cu",
        compute_capability=(9, 0),
        include=nvrtc.include_directories(),
        defines=[],
        expressions=[],
    )
    assert cubin.image.startswith(b"\x7fELF")


@pytest.mark.skipif(KIND != "emulated", reason="about the emulated device")
def test_a_line_that_is_wrong_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "every.cu"
    path.write_text(source().removesuffix("}\n") + "{ __absent(i); }\n}\n")
    with pytest.raises(CompileFailed, match=f"every.cu:{FIRST_LINE + len(lines())}: error: '__absent'"):
        toolchain.compile_image(path, ["every"], includes=[], defines={}, workdir=tmp_path)


# ***** cuda-emulator/README.md *****


def code() -> str:
    """All the sources that read the environment, but for their comments."""
    paths = [*sorted((EMULATOR / "driver").glob("*.cpp")), *sorted((EMULATOR / "kaas_emulator").glob("*.py"))]
    text = "\n".join(path.read_text() for path in paths)
    return re.sub(r"^\s*(//|#).*$", "", text, flags=re.MULTILINE)


def first_column(text: str) -> set[str]:
    return set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))


def test_every_variable_that_is_read_is_in_the_readme() -> None:
    read = set(re.findall(r'"(KAAS_[A-Z_]+)"', code()))
    assert len(read) > 10
    assert first_column(section("Use", page=README)) == read


def test_every_fault_and_delay_is_in_the_readme() -> None:
    source = (EMULATOR / "driver" / "inject.cpp").read_text()
    delays, _, rest = source.partition("Faults::read()")
    faults = set(re.findall(r'\{"([a-z-]+)", Kind::', rest))
    assert len(faults) > 5
    assert first_column(section("Faults to order", page=README)) == faults
    named = set(re.findall(r'\{"([a-z-]+)", \{"for"', delays))
    described = section("Delays to order", page=README).rpartition("    KAAS_EMULATOR_DELAYS")[2].partition("\n")[2]
    assert set(re.findall(r"`([a-z-]+)`", described)) - {"for", "rate"} == named
    assert len(named) == 5
