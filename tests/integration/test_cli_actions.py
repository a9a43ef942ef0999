"""`kaas check` and `run`: a kernel action on local files, with no server."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from kaas_command import clean_environment, command, kaas
from printing_actions import bundle
from safetensors.numpy import save_file

from kaas.dtypes import DTYPES
from kaas.formats import npy
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


def test_run_leaves_links_pipes_and_devices_what_they_are(action: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "there").mkdir()
    (tmp_path / "link.npy").symlink_to("there/z.npy")
    (tmp_path / "null").symlink_to("/dev/null")
    reader = os.open(tmp_path / "pipe.npy", os.O_RDONLY | os.O_NONBLOCK)
    for name in ("pipe.npy", "link.npy", "null"):
        done = kaas("run", action, "-p", "x=[1, 2]", "-o", f"z={name}", "--trace", "null", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    with os.fdopen(reader, "rb") as pipe:
        np.testing.assert_array_equal(np.load(io.BytesIO(pipe.read())), [0.5, 1])
    assert (tmp_path / "pipe.npy").is_fifo()
    assert (tmp_path / "link.npy").is_symlink()
    np.testing.assert_array_equal(np.load(tmp_path / "there" / "z.npy"), [0.5, 1])
    assert (tmp_path / "null").is_char_device()
    assert {path.name for path in tmp_path.iterdir()} == {"halve", "pipe.npy", "there", "link.npy", "null"}


def test_a_file_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "say.zip").write_bytes(bundle("say"))
    words = ("-p", "x=[7]", "-o", "z=/dev/full", "--trace", "t.json")
    done = kaas("run", "say.zip", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == "z  int32[1]  4 B\nprinted by the kernels:\n  | x[0] is 7 in round 0\n"
    assert done.stderr.endswith("error: cannot write /dev/full: no space left on device\nwhere: -o z=/dev/full\n")
    assert (tmp_path / "t.json").stat().st_size > 0


def test_what_cannot_be_printed_is_told(tmp_path: Path) -> None:
    (tmp_path / "say.zip").write_bytes(bundle("say"))
    words = command("run", tmp_path / "say.zip", "-p", "x=[7]")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "error: cannot write: no space left on device\n" in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere(action: Path, tmp_path: Path, closed: str) -> None:
    for value, status in (("[1, 2]", 0), ("[[1]]", 1)):
        words = command("run", action, "-p", f"x={value}", "-o", "z=z.npy")
        shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *words]
        done = subprocess.run(shell, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert "defect" not in done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), [0.5, 1])


def test_run_knows_the_names_that_the_manifest_renames(action: Path, tmp_path: Path) -> None:
    with (action / "kaas.yaml").open("a") as manifest:
        manifest.write("rename: {sound: x}\n")
    np.save(tmp_path / "x.npy", np.ones(3, np.float32))
    expected = "z  float32[3]  12 B\n  [0.5 0.5 0.5]\n"
    for words in (["sound=@x.npy"], ["x=@x.npy"], ["noise=@x.npy", 'rename={"noise": "x"}']):
        done = kaas("run", action, *(part for word in words for part in ("-p", word)), cwd=tmp_path)
        assert done.stdout == expected, done.stderr
    for words, said in (
        (["soud=@x.npy"], "did you mean 'sound'?"),
        (["noise=@x.npy", 'rename={"noise": "y"}'], "'y' is no buffer or parameter of the action"),
    ):
        done = kaas("run", action, *(part for word in words for part in ("-p", word)), cwd=tmp_path)
        assert done.returncode == 1
        assert said in done.stderr


def test_run_reads_and_writes_raw_data_and_tensors(action: Path, tmp_path: Path) -> None:
    x = np.linspace(0, 1, 100, dtype=np.float32)
    (tmp_path / "x.pcm").write_bytes(x.tobytes())
    save_file({"a/b": x, "c": x.astype(np.float64)}, tmp_path / "x.safetensors")
    for given in ("x.pcm", "x.safetensors#a/b"):
        done = kaas("run", action, "-p", f"x=@{given}", "-o", "z=z.pcm", cwd=tmp_path)
        assert done.stdout == "z  float32[100]  400 B  -> z.pcm (raw)\n", done.stderr
        np.testing.assert_array_equal(np.fromfile(tmp_path / "z.pcm", np.float32), x / 2)


def test_run_takes_from_files_what_the_action_has_in_a_store(action: Path, tmp_path: Path) -> None:
    edit(action / "kaas.yaml", "x: {io: in, ", "x: {io: const, from: s3://data/deep/w.safetensors#a, ")
    save_file({"a": np.ones(3, np.float32)}, tmp_path / "w.safetensors")
    refused = kaas("run", action, cwd=tmp_path)
    assert refused.returncode == 1
    assert "x is s3://data/deep/w.safetensors#a, which is in an object store, and `kaas run` has none" in refused.stderr
    given = "x=@w.safetensors#a"
    assert f"`kaas cp s3://data/deep/w.safetensors w.safetensors` and -p {given}, or `kaas up`" in refused.stderr
    done = kaas("run", action, "-p", given, cwd=tmp_path)
    assert done.stdout == "z  float32[3]  12 B\n  [0.5 0.5 0.5]\n", done.stderr
    edit(action / "kaas.yaml", "w.safetensors#a", "w.npy?offset=128")
    assert "hint:  `kaas up` and `kaas invoke` run it with a store" in kaas("run", action).stderr


def test_the_emulated_device_does_without_cubins_beside_a_source(action: Path, tmp_path: Path) -> None:
    edit(action / "kaas.yaml", "source: halve.cu", "source: halve.cu\n    cubins: {sm_90: halve.cubin}")
    done = kaas("run", action, "-p", "x=[1]", "--device", "emulated")
    assert done.stdout == "z  float32[1]  4 B\n  [0.5]\n", done.stderr
    assert "halve.cubin has still to be made: `kaas build --arch sm_90` does" in done.stderr
    for words in (("build", action, "-o", tmp_path / "a.zip"), ("invoke", action, "-p", "x=[1]", "-p", "z=inline")):
        refused = kaas(*words)
        assert refused.returncode == 1
        assert "'halve.cubin' is not in the bundle" in refused.stderr


@pytest.mark.parametrize(
    ("words", "said", "where"),
    [
        ([], "-p x=@x.npy", "-p x"),
        (["-p", "x=ints.npy"], "-p x=@ints.npy gives its contents", "-p x"),
        (["-p", "x=[1]", "-p", "Scale=2"], "did you mean 'scale'", "-p Scale"),
        (["-p", "x=[1]", "-p", "z=z.npy"], "-o z=z.npy saves it", "-p z"),
        (["-p", "x=[[1]]"], "x", "arguments.x"),
        (["-p", "x=@none.npy"], "there is no file none.npy", "-p x"),
        (["-p", "x=@s3://data/x.npy"], "s3://data/x.npy is in an object store, and @ is for files", "-p x"),
        (["-p", "x=@text.npy"], "text.npy is not an .npy file", "-p x"),
        (["-p", "x=@zip.npy"], "zip.npy is not an .npy file", "-p x"),
        (["-p", "x=@objects.npy"], "objects.npy holds Python objects", "-p x"),
        (["-p", "x=@swapped.npy"], "swapped.npy holds big-endian numbers", "-p x"),
        (["-p", "x=@columns.npy"], "columns.npy is stored in Fortran order", "-p x"),
        (["-p", "x=@huge.npy"], "huge.npy is cut short: its header promises 4000000000000 bytes", "-p x"),
        (["-p", "x=@ints.npy"], "int64", "arguments.x"),
        (["-p", "x=@odd.raw"], "has 7 bytes, no multiple of the 4 of float32", "arguments.x"),
        (["-p", "x=@w.safetensors"], "name the one that is meant: -p x=@w.safetensors#weight", "-p x"),
        (["-p", "x=@w.safetensors#b"], "w.safetensors#b: the file has no tensor 'b'", "-p x"),
        (["-p", "x=[1]", "-p", "scale=@odd.raw"], "scale is a parameter", "-p scale"),
        (["-p", "x=[1]", "-o", "z=z.safetensors"], "read only", "-o z=z.safetensors"),
        (["-p", "x=s3://data/x.npy"], "`kaas run` has none", "-p x"),
        (["-p", "x=[1]", "-p", "scale=much"], "scale", "arguments.scale"),
        (["-p", "x=[1]", "-o", "y=y.npy"], "has no output 'y'", "-o y=y.npy"),
        (["-p", "x=[1]", "-o", "z=none/z.npy"], "there is no folder ", "-o z=none/z.npy"),
        (["-p", "x=[1]", "-o", "z=."], ". is a folder", "-o z=."),
        (["-p", "x=[1]", "-o", "z=text.npy/z.npy"], "there is no folder ", "-o z=text.npy/z.npy"),
        (["-p", "x=[1]", "--trace", "none/t.json"], "there is no folder ", "--trace"),
        (["-p", "x=[1]", "--trace", "."], ". is a folder", "--trace"),
        (["-p", "x=[1]", "-o", "z=t.json", "--trace", "./t.json"], "t.json is also the file of -o z=t.json", "--trace"),
        (["-p", f'x="{"a" * 300}"'], "x", "arguments.x"),
    ],
)
def test_bad_runs(action: Path, tmp_path: Path, words: list[str], said: str, where: str) -> None:
    (tmp_path / "text.npy").write_text("1 2 3")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.save(tmp_path / "ints.npy", np.arange(3))
    np.save(tmp_path / "swapped.npy", np.arange(4, dtype=">f4"))
    np.save(tmp_path / "columns.npy", np.ones((2, 3), np.float32, order="F"))
    (tmp_path / "zip.npy").write_bytes(b"PK\3\4")
    (tmp_path / "huge.npy").write_bytes(npy.make_header(DTYPES["float32"], (10**12,)))
    (tmp_path / "odd.raw").write_bytes(bytes(7))
    save_file({"a": np.ones(3, np.float32)}, tmp_path / "w.safetensors")
    done = kaas("run", action, *words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert "this is a defect" not in done.stderr
    assert said in done.stderr
    assert f"where: {where}" in done.stderr
    assert done.stdout == ""


def test_no_gpu_is_said(action: Path) -> None:
    done = kaas("run", action, "-p", "x=[1]", "--device", "cuda")
    if Path("/proc/driver/nvidia/version").exists():
        assert done.returncode == 0
    else:
        assert done.returncode == 3
        assert "there is no NVIDIA driver" in done.stderr


def test_the_rounds_of_an_until_stand_below_the_results() -> None:
    shown = kaas("run", EXAMPLES / "roots", "-p", "coefficients=[[1,0],[0,0],[-1,0]]", "-p", "limit=4")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.endswith("\nrounds 4\n")


def test_what_kernels_print_stands_below_the_results(tmp_path: Path) -> None:
    for name in ("say", "say_and_fault"):
        (tmp_path / f"{name}.zip").write_bytes(bundle(name))
    shown = kaas("run", tmp_path / "say.zip", "-p", "x=[7]")
    assert shown.stdout == "z  int32[1]  4 B\n  [7]\nprinted by the kernels:\n  | x[0] is 7 in round 0\n"
    failed = kaas("run", tmp_path / "say_and_fault.zip", "-p", "x=[7]")
    assert failed.returncode == 1
    assert failed.stdout == "printed by the kernels:\n  | before the fault: 7\n"
    assert "error: " in failed.stderr
    assert "PyCUDA" not in failed.stderr
