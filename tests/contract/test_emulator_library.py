"""The emulated driver as a library: its symbols, its settings, how it is built and loaded; its compiler."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from contract_device import KIND
from fresh_process import run

import kaas_emulator
from kaas_emulator import CompileFailed, EmulatorError, compiler, toolchain

pytestmark = pytest.mark.skipif(KIND != "emulated", reason="about the emulated device")

SAXPY = """\
#include <cuda_runtime.h>
extern "C" __global__ void saxpy(float a, const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += a * x[i];
}
"""


def symbols(path: Path, kind: str) -> set[str]:
    lines = subprocess.run(["nm", "-D", path], capture_output=True, text=True, check=True).stdout.splitlines()
    return {fields[-1] for line in lines if (fields := line.split())[-2] in kind}


def pycuda_extension() -> Path:
    import pycuda

    (path,) = Path(pycuda.__file__).parent.glob("_driver*.so")
    return path


def test_every_symbol_that_pycuda_needs_is_there() -> None:
    needed = {name for name in symbols(pycuda_extension(), "U") if name.startswith("cu")}
    exported = symbols(kaas_emulator.library_path(), "TW")
    assert len(needed) > 100
    assert needed <= exported


def test_pycuda_needs_no_newer_driver() -> None:
    """Built with the headers of CUDA 12.4, which bind the second version of these and not a later one."""
    needed = symbols(pycuda_extension(), "U")
    assert {"cuCtxCreate_v2", "cuEventElapsedTime"} <= needed
    assert not {"cuCtxCreate_v4", "cuEventElapsedTime_v2"} & needed


def test_what_is_missing_says_so() -> None:
    library = ctypes.CDLL(str(kaas_emulator.library_path()))
    source = (Path(kaas_emulator.__file__).parents[1] / "driver" / "api_unsupported.cpp").read_text()
    names = re.findall(r"^KAAS_UNSUPPORTED\((\w+)\)$", source, re.MULTILINE)
    assert len(names) > 40
    assert {getattr(library, name)() for name in names} == {801}


def test_nothing_but_the_api_is_exported() -> None:
    exported = symbols(kaas_emulator.library_path(), "TWBDRV")
    assert {name for name in exported if not name.startswith("cu")} == {
        "kaas_emulator_version",
        "kaas_emulator_last_fault",
        "kaas_emulator_name",
    }


def test_activation_can_be_repeated() -> None:
    assert kaas_emulator.activate() == kaas_emulator.activate() == kaas_emulator.library_path()


def test_a_real_driver_that_is_loaded_is_not_replaced(tmp_path: Path) -> None:
    library = tmp_path / "libcuda.so.1"
    command = [compiler.compiler(), "-shared", "-x", "c", "/dev/null", "-Wl,-soname,libcuda.so.1", "-o", str(library)]
    subprocess.run(command, check=True)
    program = f"import ctypes, kaas_emulator; ctypes.CDLL({str(library)!r}); kaas_emulator.activate()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "EmulatorError: a CUDA driver is loaded in this process already" in done.stderr


def test_without_a_compiler_the_message_says_what_to_install(tmp_path: Path) -> None:
    program = "import kaas_emulator; kaas_emulator.activate()"
    environment = {"PATH": str(tmp_path), "KAAS_CACHE_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert "EmulatorError: the emulated device needs the C++ compiler g++" in done.stderr
    assert "apt-get install g++" in done.stderr


def test_devices_are_as_the_environment_says() -> None:
    answers, _ = run(
        "describe",
        KAAS_EMULATOR_DEVICES="3",
        KAAS_EMULATOR_MEMORY="96M",
        KAAS_EMULATOR_NAME="Test Device",
        KAAS_EMULATOR_COMPUTE_CAPABILITY="8.6",
        KAAS_EMULATOR_WORKERS="5",
    )
    assert answers == {
        "names": ["Test Device"] * 3,
        "memory": [96 << 20] * 3,
        "capability": [[8, 6]] * 3,
        "processors": [5] * 3,
    }


@pytest.mark.parametrize(
    ("variable", "value"),
    [("MEMORY", "lots"), ("MEMORY", "-1"), ("DEVICES", "1.5"), ("COMPUTE_CAPABILITY", "9"), ("WORKERS", "0")],
)
def test_a_setting_that_cannot_be_read_is_named(variable: str, value: str) -> None:
    with pytest.raises(AssertionError, match=f'KAAS_EMULATOR_{variable} is "{value}"; it must be'):
        run("describe", **{f"KAAS_EMULATOR_{variable}": value})


# ***** the compiler *****


def compile_source(directory: Path, text: str, *kernels: str) -> bytes:
    source = directory / "source.cu"
    source.write_text(text)
    return toolchain.compile_image(source, kernels, includes=[], defines={}, workdir=directory)


def test_the_compiler_leaves_nothing_behind(tmp_path: Path) -> None:
    image = compile_source(tmp_path, SAXPY, "saxpy")
    assert image.startswith(b"\x7fELF")
    assert [path.name for path in tmp_path.iterdir()] == ["source.cu"]


def test_messages_are_about_the_users_lines(tmp_path: Path) -> None:
    text = SAXPY.replace("a * x[i]", "a * missing[i]")
    with pytest.raises(CompileFailed) as caught:
        compile_source(tmp_path, text, "saxpy")
    assert "source.cu:4: error: 'missing' was not declared in this scope" in caught.value.log
    assert "if (i < n) y[i] += a * missing[i];" in caught.value.log
    assert str(tmp_path) not in caught.value.log
    assert "kaas" not in caught.value.log


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (SAXPY.rpartition("}")[0], 'source.cu:4: error: expected "}" at end of input'),
        ('#include "absent.h"\n' + SAXPY, "source.cu:1: fatal error: absent.h: No such file or directory"),
        (SAXPY.replace("n) {", "n) {\n#error no\n"), "source.cu:3: error: #error no"),
        (SAXPY.replace("float* y", "float3 y"), "source.cu:4: error: no match for 'operator[]'"),
    ],
    ids=["open brace", "include", "directive", "type"],
)
def test_errors_of_every_stage_name_their_place(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(CompileFailed) as caught:
        compile_source(tmp_path, text, "saxpy")
    assert line.replace('"', "'") in caught.value.log.replace('"', "'")


def test_errors_in_headers_name_the_header(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "broken.h").write_text("\n\n__device__ int f() { return nothing; }\n")
    (tmp_path / "main.cu").write_text('#include "broken.h"\n')
    with pytest.raises(CompileFailed, match=r"part/broken\.h:3: error: 'nothing'"):
        toolchain.compile_image(tmp_path / "main.cu", [], includes=[tmp_path / "part"], defines={}, workdir=tmp_path)


def test_a_kernel_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CompileFailed, match="kernel absent: error: 'absent'"):
        compile_source(tmp_path, SAXPY, "absent")


def test_preprocessing_leaves_the_source_alone(tmp_path: Path) -> None:
    source = tmp_path / "source.cu"
    source.write_text("#define N 4\n" + SAXPY + "__global__ void other(int* out) { __shared__ int s[N]; *out = *s; }\n")
    text = toolchain.preprocess(source, includes=[], defines={}, workdir=tmp_path)
    assert '# 1 "source.cu"' in text
    assert 'extern "C" __global__ void saxpy(float a, const float* x, float* y, int n) {' in text
    assert "__shared__ int s[4];" in text
    assert "kaas_device::describe" not in text
    assert len(text) < 4000


def test_a_fingerprint_is_stable() -> None:
    program = "from kaas_emulator import toolchain; print(toolchain.fingerprint())"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == toolchain.fingerprint()


def test_the_toolchain_is_cheap_to_import() -> None:
    program = "import sys, kaas_emulator.toolchain; print({'numpy', 'pydantic', 'pycuda'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.slow
def test_several_processes_may_build_at_once(tmp_path: Path) -> None:
    program = f"""
import os, kaas_emulator
os.environ["KAAS_CACHE_DIR"] = {str(tmp_path)!r}
print(kaas_emulator.build())
"""

    def build(_: int) -> str:
        command = [sys.executable, "-c", program]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor(3) as pool:
        answers = set(pool.map(build, range(3)))
    assert len(answers) == 1
    library = Path(answers.pop().strip())
    assert library.is_file()
    # Nothing unfinished is left.
    assert {path.name[0] for path in library.parents[1].iterdir()} == {"d"}


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("KAAS_CACHE_DIR", str(blocked))
    with pytest.raises(EmulatorError, match="set KAAS_CACHE_DIR to one that can"):
        kaas_emulator.library_path()


def test_a_library_that_somebody_loaded_for_himself_is_activated_all_the_same() -> None:
    program = (
        "import ctypes, kaas_emulator; ctypes.CDLL(str(kaas_emulator.library_path())); kaas_emulator.activate(); "
        "import pycuda.driver; pycuda.driver.init(); print(pycuda.driver.Device.count())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
