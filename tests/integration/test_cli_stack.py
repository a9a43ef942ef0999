"""`kaas up`, `env`, `status`, `cp`, `invoke` and `down`: a session of the README."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from kaas_command import clean_environment, command, kaas

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A state directory with a running stack."""
    environment = {"KAAS_STATE_DIR": str(tmp_path_factory.mktemp("cli") / "state")}
    try:
        started = kaas("up", environment=environment)
        assert started.returncode == 0, started.stderr
        for word in (
            "object store",
            "GPU pool",
            "OpenWhisk API",
            "emulated",
            "no GPU",
            "s3://data",
            environment["KAAS_STATE_DIR"],
        ):
            assert word in started.stdout
        assert 'eval "$(kaas env)"' in started.stderr
        assert "wsk property set --apihost http://127.0.0.1:" in started.stderr
        yield environment
    finally:
        kaas("down", environment=environment)


def test_a_second_up_says_it_runs(here: dict[str, str]) -> None:
    again = kaas("up", environment=here)
    assert again.returncode == 0
    assert again.stdout.startswith("runs already\n")


def test_env_is_for_a_shell(here: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-c", f'eval "$({" ".join(command("env"))})"; env'],
        env=clean_environment(here),
        capture_output=True,
        text=True,
        check=True,
    )
    variables = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert variables["KAAS_POOL_URL"].startswith("http://127.0.0.1:")
    assert variables["KAAS_TOKEN"]
    assert variables["AWS_ENDPOINT_URL_S3"].startswith("http://127.0.0.1:")


def test_status(here: dict[str, str]) -> None:
    done = kaas("status", environment=here)
    assert done.returncode == 0
    for word in ("daemon", "store", "runs", "ready", "device", "slots", "GiB"):
        assert word in done.stdout


def test_from_files_to_files_by_way_of_the_pool(here: dict[str, str], tmp_path: Path) -> None:
    x, y = np.arange(1000, dtype=np.float32), np.ones(1000, dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    y.tofile(tmp_path / "y.raw")
    assert kaas("cp", "x.npy", "s3://data/cli/", cwd=tmp_path, environment=here).returncode == 0
    copied = kaas("cp", "y.npy", "s3://data/cli/y.npy", cwd=tmp_path, environment=here)
    assert copied.stdout == "y.npy -> s3://data/cli/y.npy  4.0 KiB\n"
    arguments = [word for pair in ("x=s3://data/cli/x.npy", "y=s3://data/cli/y.npy", "a=2") for word in ("-p", pair)]
    invoked = kaas("invoke", EXAMPLES / "saxpy", *arguments, "-p", "z=s3://out/cli/z.npy", environment=here)
    assert invoked.returncode == 0, invoked.stderr
    assert json.loads(invoked.stdout)["z"] == "s3://out/cli/z.npy"
    assert kaas("cp", "s3://out/cli/z.npy", ".", cwd=tmp_path, environment=here).returncode == 0
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), 2 * x + y)
    inline = kaas(
        "invoke",
        EXAMPLES / "saxpy",
        "-p",
        "x=@x.npy",
        "-p",
        "y=@y.raw",
        "-p",
        "z=inline",
        cwd=tmp_path,
        environment=here,
    )
    assert json.loads(inline.stdout)["z"] == (x + y).tolist()
    # What `env` prints serves as well as the state directory.
    env = {
        line.split("=", 1)[0].removeprefix("export "): line.split("=", 1)[1]
        for line in kaas("env", environment=here).stdout.splitlines()
        if not line.startswith("#")
    }
    assert kaas("cp", "s3://out/cli/z.npy", "z2.npy", cwd=tmp_path, environment=env).returncode == 0
    assert (tmp_path / "z2.npy").read_bytes() == (tmp_path / "z.npy").read_bytes()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["cp", "s3://data/none", "x"], 1, "there is no object s3://data/none"),
        (["cp", "s3://nobody/x", "x"], 1, "refuses s3://nobody/x"),
        (["invoke", EXAMPLES / "saxpy"], 1, "where: arguments.x\nhint:  -p x=s3://data/x.npy\n"),
        (["invoke", EXAMPLES / "saxpy", "-p", "x=s3://data/none.npy", "-p", "y=[1]", "-p", "z=inline"], 1, "none.npy"),
        (["invoke", EXAMPLES / "saxpy", "-p", "x=@big.npy", "-p", "y=[1]", "-p", "z=inline"], 1, "kaas cp big.npy"),
        (["invoke", EXAMPLES / "saxpy", "--budget", "soon"], 2, "not a number of seconds"),
    ],
)
def test_mistakes(here: dict[str, str], tmp_path: Path, words: list[str | Path], status: int, said: str) -> None:
    np.save(tmp_path / "big.npy", np.zeros(100_000, np.float32))
    done = kaas(*words, cwd=tmp_path, environment=here)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "x").exists()


def test_a_wrong_address_and_a_wrong_token(here: dict[str, str]) -> None:
    invoke = ("invoke", EXAMPLES / "saxpy", "-p", "x=[1]", "-p", "y=[1]", "-p", "z=inline")
    done = kaas(*invoke, environment={**here, "KAAS_TOKEN": "guess"})
    assert done.returncode == 1
    assert "token" in done.stderr
    done = kaas("status", environment={**here, "KAAS_POOL_URL": "http://127.0.0.1:1"})
    assert "not ready: the pool at http://127.0.0.1:1 cannot be reached" in done.stdout
    assert done.returncode == 1
    done = kaas(*invoke, environment={**here, "KAAS_POOL_URL": "http://127.0.0.1:1"})
    assert done.returncode == 3
    assert "connection refused" in done.stderr
    assert 'none of your stacks is there: `eval "$(kaas env)"` again; or `unset KAAS_POOL_URL`' in done.stderr
    done = kaas(*invoke, environment={**here, "KAAS_POOL_URL": "https://127.0.0.1:1"})
    assert "stacks" not in done.stderr, "a stack has no certificate"


def test_down(tmp_path: Path) -> None:
    environment = {"KAAS_STATE_DIR": str(tmp_path / "state")}
    assert kaas("up", environment=environment).returncode == 0
    stopped = kaas("down", environment=environment)
    assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
    assert kaas("status", environment=environment).returncode == 1
    assert kaas("env", environment=environment).stdout == ""
    assert kaas("down", environment=environment).stdout == "nothing ran\n"
