"""What `make setup` refuses, reports and builds; the way through it is exercised by having run it."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from few_tools import few_tools

import pycuda_wheel
import steps

ROOT = Path(__file__).parents[2]


def check(folder: Path, *tools: str, flag: str = "--check", **environment: str) -> subprocess.CompletedProcess[str]:
    """setup.sh, where these tools are all there is on PATH. A tool may be `name=script`."""
    few_tools(folder, *tools, "bash", "uname", "dirname")
    # A copy: the check in place would find this repository's own .venv.
    scripts = folder / "copy" / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "setup.sh").write_bytes((ROOT / "scripts" / "setup.sh").read_bytes())
    return subprocess.run(
        [folder / "bash", scripts / "setup.sh", flag],
        env={"PATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


PYTHON = f'exec {sys.executable} "$@"'


def test_a_complete_machine_passes(tmp_path: Path) -> None:
    done = check(tmp_path / "bin", f"python3={PYTHON}", "g++=echo 12", "make", "git")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_bare_machine_is_told_one_line_that_mends_it(tmp_path: Path) -> None:
    done = check(tmp_path / "bin")
    assert done.returncode == 1
    assert "No CPython 3.10 to 3.14" in done.stderr
    assert "There is no g++" in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "apt-get" in line]
    assert line.endswith("apt-get install -y python3 python3-venv python3-dev g++ make git")
    assert "Traceback" not in done.stderr


def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    done = check(tmp_path / "bin", f"python3={PYTHON}", "g++=echo 10.2.1", "git", flag="--missing")
    assert (done.returncode, done.stdout) == (0, "g++ make\n")


def test_an_interpreter_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    done = check(tmp_path / "bin", "python3.13=exit 127", f"python3={PYTHON}", "g++=echo 12", "make", "git")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 127", "does not run"),
        ("echo is cpython 3.8; exit 3", "is cpython 3.8"),
        ("echo lacks ssl", "lacks ssl"),
    ],
)
def test_a_chosen_interpreter_that_will_not_do_is_refused(tmp_path: Path, script: str, reason: str) -> None:
    chosen = tmp_path / "chosen"
    chosen.write_text(f"#!/bin/sh\n{script}\n")
    chosen.chmod(0o755)
    done = check(tmp_path / "bin", f"python3={PYTHON}", "g++=echo 12", "make", "git", KAAS_PYTHON=str(chosen))
    assert done.returncode == 1
    assert f"KAAS_PYTHON={chosen} {reason}" in done.stderr


def test_a_quick_step_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    steps.run("doing it", [sys.executable, "-c", "print('done')"], log)
    assert log.read_text() == "done\n"
    assert capfd.readouterr() == ("", "")


def test_a_slow_step_says_how_long_it_took(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "QUIET_S", 0.0)
    steps.run("doing it", [sys.executable, "-c", "pass"], tmp_path / "log")
    assert capfd.readouterr().err.splitlines()[-1] == "  doing it: 0 s"


def test_a_failed_step_shows_its_own_output_and_what_to_do(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("an earlier step\n")
    with pytest.raises(steps.StepFailedError) as failed:
        steps.run(
            "doing it",
            [sys.executable, "-c", "import sys; sys.exit('no such luck')"],
            log,
            advice="Try again.",
        )
    text = str(failed.value)
    assert text.startswith("doing it failed after 0 s.")
    assert text.endswith("    no such luck\nTry again.")
    assert "an earlier step" not in text


def test_a_step_whose_command_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(steps.StepFailedError, match=r"doing it failed: .*nothing does not start"):
        steps.run("doing it", [tmp_path / "nothing"], tmp_path / "log")


def test_the_wheel_is_cached_outside_the_tree_per_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAAS_CACHE_DIR", str(tmp_path))
    wheel = pycuda_wheel.cached_wheel()
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert wheel.is_relative_to(tmp_path / "wheels")
    assert wheel.name.startswith("pycuda-")
    assert wheel.name.endswith(f"-{tag}-{tag}-linux_x86_64.whl")
    monkeypatch.delenv("KAAS_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert pycuda_wheel.cache_dir() == tmp_path / "xdg" / "kaas"


def test_pip_never_asks_and_never_installs_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "kept")
    environment = pycuda_wheel.pip_environment()
    assert "PIP_USER" not in environment
    assert (environment["PIP_INDEX_URL"], environment["PIP_NO_INPUT"]) == ("kept", "1")


def test_pycuda_asks_for_the_driver_and_binds_what_old_drivers_have() -> None:
    package = find_spec("pycuda")
    assert package is not None and package.submodule_search_locations is not None
    (library,) = Path(package.submodule_search_locations[0]).glob("_driver.*.so")
    names = set(library.read_bytes().split(b"\0"))
    assert b"libcuda.so.1" in names
    assert {b"cuCtxCreate_v2", b"cuEventElapsedTime"} <= names
    assert not {b"cuCtxCreate_v3", b"cuCtxCreate_v4", b"cuEventElapsedTime_v2"} & names
