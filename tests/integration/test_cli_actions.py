"""`kaas check` and `run`: a kernel action on local files, with no server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kaas_command import kaas
from printing_actions import bundle

from kaas_cli.main import main

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def action(tmp_path: Path) -> Path:
    """A new action, as the template makes it."""
    folder = tmp_path / "halve"
    assert main(["new", str(folder)]) == 0
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "place", "said"),
    [
        ("kaas.yaml", "block:", "blok:", "kaas.yaml:16: error: ", "did you mean 'block'?"),
        ("kaas.yaml", "shape: [n]}     #", "shape: [m]}     #", "kaas.yaml:10: error: ", "'n'"),
        ("kaas.yaml", "threads: [n] ", "threads: [n +] ", "kaas.yaml:15: error: ", "n +"),
        ("kaas.yaml", "halve.cu", "halv.cu", "kaas.yaml:14: error: ", "did you mean 'halve.cu'?"),
        ("kaas.yaml", "kernel: halve", "kernel: half", "kaas.yaml:13: error: ", "did you mean 'halve'?"),
        ("halve.cu", "scale * x[i]", "scale * y[i]", "halve.cu:3: error: ", "y"),
        ("halve.cu", "extern", '#include "/etc/passwd"\nextern', "halve.cu:1: error: ", "/etc/passwd"),
    ],
)
def test_findings(action: Path, file: str, old: str, new: str, place: str, said: str) -> None:
    edit(action / file, old, new)
    checked = kaas("check", action)
    assert checked.returncode == 1
    assert checked.stdout.startswith(f"{action}/{place}"), checked.stdout
    assert said in checked.stdout
    assert "root:" not in checked.stdout
    # And the other commands refuse it in their own way.
    done = kaas("run", action, "-p", "x=[1]")
    assert done.returncode == 1
    assert f"where: {action}/" in done.stderr


def test_check_of_a_zip(action: Path, tmp_path: Path) -> None:
    assert kaas("build", action, "-o", tmp_path / "a.zip").returncode == 0
    assert kaas("check", tmp_path / "a.zip").returncode == 0
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04")
    checked = kaas("check", tmp_path / "b.zip")
    assert checked.returncode == 1
    assert checked.stdout.startswith(f"{tmp_path}/b.zip: error: ")


def test_run(action: Path, tmp_path: Path) -> None:
    x = np.linspace(0, 1, 1000, dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    done = kaas("run", action, "-p", "x=@x.npy", "-p", "scale=3", "-o", "z=z.npy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "z  float32[1000]  3.9 KiB  -> z.npy\n"
    assert "emulated" in done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), 3 * x, rtol=1e-6)
    shown = kaas("run", action, "-p", "x=[1, 2]")
    assert shown.stdout == "z  float32[2]  8 B\n  [0.5 1. ]\n"


@pytest.mark.parametrize(
    ("words", "said", "where"),
    [
        ([], "-p x=@x.npy", "-p x"),
        (["-p", "x=ints.npy"], "-p x=@ints.npy gives its contents", "-p x"),
        (["-p", "x=[1]", "-p", "Scale=2"], "did you mean 'scale'", "-p Scale"),
        (["-p", "x=[1]", "-p", "z=z.npy"], "-o z=z.npy saves it", "-p z"),
        (["-p", "x=[[1]]"], "x", "arguments.x"),
        (["-p", "x=@none.npy"], "there is no file none.npy", "-p x"),
        (["-p", "x=@text.npy"], "is not a .npy file", "-p x"),
        (["-p", "x=@objects.npy"], "is not a .npy file", "-p x"),
        (["-p", "x=@ints.npy"], "int64", "arguments.x"),
        (["-p", "x=s3://data/x.npy"], "`kaas run` has none", "-p x"),
        (["-p", "x=[1]", "-p", "scale=much"], "scale", "arguments.scale"),
        (["-p", "x=[1]", "-o", "y=y.npy"], "has no output 'y'", "-o y=y.npy"),
        (["-p", "x=[1]", "-o", "z=none/z.npy"], "cannot write none/z.npy", "-o"),
    ],
)
def test_bad_runs(action: Path, tmp_path: Path, words: list[str], said: str, where: str) -> None:
    (tmp_path / "text.npy").write_text("1 2 3")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.save(tmp_path / "ints.npy", np.arange(3))
    done = kaas("run", action, *words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert f"where: {where}" in done.stderr


def test_no_gpu_is_said(action: Path) -> None:
    done = kaas("run", action, "-p", "x=[1]", "--device", "cuda")
    if Path("/proc/driver/nvidia/version").exists():
        assert done.returncode == 0
    else:
        assert done.returncode == 3
        assert "there is no NVIDIA driver" in done.stderr


def test_what_kernels_print_stands_below_the_results(tmp_path: Path) -> None:
    for name in ("say", "say_and_fault"):
        (tmp_path / f"{name}.zip").write_bytes(bundle(name))
    shown = kaas("run", tmp_path / "say.zip", "-p", "x=[7]")
    assert shown.stdout == "z  int32[1]  4 B\n  [7]\nprinted by the kernels:\n  | x[0] is 7 in round 0\n"
    failed = kaas("run", tmp_path / "say_and_fault.zip", "-p", "x=[7]")
    assert failed.returncode == 1
    assert failed.stdout == "printed by the kernels:\n  | before the fault: 7\n"
    assert "error: " in failed.stderr
