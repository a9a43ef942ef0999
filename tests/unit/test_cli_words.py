"""The command line's words: commands, help, values, failures and their statuses. Nothing here needs a server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from kaas.errors import AuthorError, CallerError, PlatformError
from kaas_cli.main import COMMANDS, main
from kaas_cli.output import CALLER, PLATFORM, USAGE, Failure, as_failure, size, table
from kaas_cli.values import parse_files, parse_values
from kaas_local.state import StackError, default_directory

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No stack and no store of whoever runs the tests."""
    for name in ("KAAS_POOL_URL", "KAAS_TOKEN", "KAAS_DEBUG", "AWS_PROFILE", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAAS_STATE_DIR", str(tmp_path / "state"))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: kaas {command}" in text
    assert len(text.splitlines()) > 4


def test_the_list_of_commands(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for command, what in COMMANDS.items():
        assert command in text
        assert what in text


def test_no_command(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == USAGE
    assert "usage: kaas" in capsys.readouterr().out


def test_a_mistyped_command(capsys: Captured) -> None:
    assert main(["invok", "."]) == USAGE
    assert capsys.readouterr().err == "error: there is no command 'invok'\nhint:  did you mean 'invoke'?\n"


def test_a_missing_argument(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["cp", "x.npy"])
    assert ended.value.code == USAGE
    assert "TO" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["check", "nowhere"], CALLER, "there is no file or folder 'nowhere'"),
        (["build", "nowhere"], USAGE, "not a folder"),
        (["run", "nowhere"], CALLER, "there is no file or folder 'nowhere'"),
        (["invoke", "nowhere", "-p", "x=1"], CALLER, "there is no file or folder 'nowhere'"),
        (["run", ".", "-o", "z"], USAGE, "not NAME=VALUE"),
        (["run", ".", "-o", "z=a.npy", "-o", "z=b.npy"], USAGE, "-o z is given twice"),
        (["env"], CALLER, "nothing runs in"),
        (["cp", "a", "b"], USAGE, "one of the two is a file"),
        (["cp", "s3://a/b", "s3://a/c"], USAGE, "one of the two is a file"),
        (["cp", "nowhere", "s3://data/x"], CALLER, "there is no file nowhere"),
        (["cp", "s3://data/x", "nowhere/x"], CALLER, "there is no folder nowhere"),
        (["cp", "s3://data", "x"], CALLER, "has no key"),
        (["cp", "s3://data/x", "x"], CALLER, "no object store is known"),
        (["new", "a b"], USAGE, "cannot name an action"),
        (["check", "."], CALLER, "hint:  `kaas new NAME` makes a kernel action"),
        (["run", "-p", "x=1"], CALLER, "there is no kaas.yaml in"),
        (["invoke", "-p", "x=1"], CALLER, "there is no kaas.yaml in"),
        (["run", ".", "x=1"], USAGE, "hint:  write -p x=1"),
        (["invoke", ".", "x=s3://data/x.npy"], USAGE, "hint:  write -p x=s3://data/x.npy"),
        (["check", ".", "n=3"], USAGE, "hint:  write --set n=3"),
        (["check", ".", "--sett", "n=3"], USAGE, "did you mean '--set'?"),
        (["check", ".", "--set", "n"], USAGE, "hint:  for example --set n=1048576"),
        (["up", "now"], USAGE, "`kaas up --help` lists what it knows"),
    ],
)
def test_failures(
    words: list[str], status: int, said: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == status
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert said in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_a_folder_without_an_action(capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "halve"]) == 0
    for words, hint in (
        (["check", "."], "name one of the folders that have one: halve"),
        (["check", "halve/halve.cu"], "name its folder: halve"),
        (["invoke", "halve/halve.cu"], "name its folder: halve"),
    ):
        assert main(words) == CALLER
        assert hint in capsys.readouterr().err
    Path("kaas.yml").write_text("kaas: 1")
    assert main(["run", "-p", "x=1"]) == CALLER
    assert "there is kaas.yml: name it kaas.yaml" in capsys.readouterr().err


def test_a_mistyped_argument_of_invoke(capsys: Captured, tmp_path: Path) -> None:
    assert main(["new", str(tmp_path / "halve")]) == 0
    capsys.readouterr()
    assert main(["invoke", str(tmp_path / "halve"), "-p", "Scale=2"]) == CALLER
    assert "did you mean 'scale'?" in capsys.readouterr().err
    # The platform's own names, and whatever a rename speaks of, are no slips: it fails for want of a pool.
    for word in ("outputs=s3://out/a", 'rename={"image": "x"}'):
        assert main(["invoke", str(tmp_path / "halve"), "-p", word]) == CALLER
        assert "no pool is known" in capsys.readouterr().err


def test_a_file_that_is_too_large_for_a_call(capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "halve"]) == 0
    Path("sub").mkdir()
    weights = np.zeros(20_000, np.float32)
    save_file({"a/b": weights}, "sub/w.safetensors")
    weights.tofile("sub/w.raw")
    capsys.readouterr()
    for given, stored in (("w.raw", "w.raw"), ("w.safetensors#a/b", "w.safetensors")):
        assert main(["invoke", "halve", "-p", f"x=@sub/{given}"]) == CALLER
        told = capsys.readouterr().err
        assert f"sub/{given} holds 80000 bytes" in told
        assert f"`kaas cp sub/{stored} s3://data/{stored}` and -p x=s3://data/{given}" in told


def test_nothing_runs(capsys: Captured) -> None:
    assert main(["status"]) == CALLER
    assert "nothing runs" in capsys.readouterr().out
    assert main(["down"]) == 0
    assert capsys.readouterr().out == "nothing ran\n"


def test_the_address_of_a_stack_that_was_stopped(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAAS_POOL_URL", "http://127.0.0.1:1")
    assert main(["status"]) == CALLER
    assert '`kaas up`, then `eval "$(kaas env)"` again; or `unset KAAS_POOL_URL`' in capsys.readouterr().out
    unreachable = PlatformError("pool_unreachable", "m", hint="h")
    assert "unset KAAS_POOL_URL" in str(as_failure(unreachable).hint)
    monkeypatch.setenv("KAAS_POOL_URL", "http://pool.example:7233")
    assert as_failure(unreachable).hint == "h"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AuthorError("unknown_key", "m", where="w", hint="h"), CALLER),
        (CallerError("input_missing", "m", where="w", hint="h"), CALLER),
        (PlatformError("pool_busy", "m", where="w", hint="h"), PLATFORM),
        (StackError("m", "h"), PLATFORM),
        (FileNotFoundError(2, "No such file", "x.npy"), CALLER),
        (ZeroDivisionError("m"), PLATFORM),
        (Failure("m", where="w", hint="h", status=USAGE), USAGE),
    ],
)
def test_statuses(error: Exception, status: int) -> None:
    assert as_failure(error).status == status


def test_a_defect_says_so_and_shows_its_traceback_on_demand(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> object:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("kaas_cli.access.default_directory", fail)
    assert main(["env"]) == PLATFORM
    text = capsys.readouterr().err
    assert text.startswith("error: ZeroDivisionError: oh\nhint:  this is a defect of kaas")
    assert "Traceback" not in text
    monkeypatch.setenv("KAAS_DEBUG", "1")
    assert main(["env"]) == PLATFORM
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("kaas_cli.access.default_directory", interrupt)
    assert main(["env"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_values() -> None:
    assert parse_values(["a=2", "b=-1.5e3", "c=true", "d=[1, 2]", "e=s3://data/x.npy", "f=@x.npy", 'g="2"']) == {
        "a": 2,
        "b": -1500.0,
        "c": True,
        "d": [1, 2],
        "e": "s3://data/x.npy",
        "f": Path("x.npy"),
        "g": "2",
    }
    assert parse_values(["a=nan", "b=NaN", "c=-Infinity", "d=x=y"]) == {
        "a": "nan",
        "b": "NaN",
        "c": "-Infinity",
        "d": "x=y",
    }
    assert parse_files(["z=z.npy", "y=@y.npy"]) == {"z": Path("z.npy"), "y": Path("y.npy")}


@pytest.mark.parametrize("words", [["a"], ["=2"], ["a="], ["a=1", "a=2"]])
def test_bad_values(words: list[str]) -> None:
    with pytest.raises(Failure) as caught:
        parse_values(words)
    assert caught.value.status == USAGE


def test_state_directories() -> None:
    home = Path.home()
    assert default_directory({}) == home / ".local/state/kaas"
    assert default_directory({"XDG_STATE_HOME": "/s"}) == Path("/s/kaas")
    assert default_directory({"XDG_STATE_HOME": "/s", "KAAS_STATE_DIR": "/k"}) == Path("/k")
    assert default_directory({"KAAS_STATE_DIR": "~/k"}) == home / "k"


def test_tables_and_sizes() -> None:
    assert table([["a", "bb"], ["ccc", ""]]) == "a    bb\nccc"
    assert [size(count) for count in (0, 1023, 1024, 3 << 20, 5 << 40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "3.0 MiB",
        "5.0 TiB",
    ]


def test_new_and_build(tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "half-it"]) == 0
    assert sorted(path.name for path in Path("half-it").iterdir()) == [
        "README.md",
        "half_it.cu",
        "kaas.yaml",
        "test_half_it.py",
    ]
    for path in Path("half-it").iterdir():
        text = path.read_text()
        assert "NAME" not in text
        assert "KERNEL" not in text
    assert main(["new", "half-it"]) == CALLER
    assert main(["build", "half-it"]) == 0
    first = Path("half-it.zip").read_bytes()
    for path in Path("half-it").iterdir():
        path.touch()
    monkeypatch.chdir(tmp_path / "half-it")
    assert main(["build"]) == 0
    assert Path("../half-it.zip").read_bytes() == first
    assert main(["build", "-o", "x.zip"]) == USAGE
    assert not Path("x.zip").exists()
    assert "sha256:" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["7up", "a.b", "_a", "a" * 65, ".hidden"])
def test_names_of_new_actions(tmp_path: Path, name: str) -> None:
    status = main(["new", str(tmp_path / name)])
    assert status == (0 if name in ("7up", "a.b") else USAGE)
    assert (tmp_path / name).exists() == (status == 0)
