"""The emulated device's checked mode as a user meets it: `kaas run --checked`, and a pool that runs in it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kaas_command import kaas

from kaas_cli.devices import turn_checks_on
from kaas_cli.examples import load_example
from kaas_cli.output import Failure
from kaas_emulator.settings import CHECKED

EXAMPLES = sorted(path.parent.name for path in Path(__file__).parents[2].glob("examples/*/kaas.yaml"))

MANIFEST = """\
kaas: 1
name: edge
params:
  reads: {type: int32, default: 0}
  keeps: {type: int32, default: 0}
  writes: {type: int32, default: 0}
  count: {type: int32, default: 1}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  t: {io: temp, dtype: float32, shape: [1024]}
  u: {io: temp, dtype: float32, shape: [1024]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - {kernel: put, source: edge.cu, threads: [1], block: [1], args: [x, t, reads, keeps, int32(1)]}
  - {kernel: put, source: edge.cu, threads: [1], block: [1], args: [t, u, int32(0), int32(0), int32(1)]}
  - {kernel: put, source: edge.cu, threads: [1], block: [1], args: [u, z, int32(0), writes, count]}
"""
SOURCE = """\
extern "C" __global__ void put(const float* from, float* to, int reads, int first, int count) {
    for (int i = 0; i < count; ++i) to[first + i] = from[reads];
}
"""
ON = {CHECKED: "1"}

#: Parameters that go over an end of one of its buffers with seven floats of `x`, and what is told.
BEYOND = [
    ({"reads": 7}, "a read of 4 bytes at ", ", just past the end of buffer x of 28 bytes in block (0,0,0), thread"),
    ({"reads": -1}, "a read of 4 bytes at ", ", 4 bytes before the start of buffer x of 28 bytes in block"),
    ({"keeps": 1024}, "a write of 4 bytes at ", ", just past the end of buffer t of 4096 bytes in block"),
    ({"keeps": -1}, "a write of 4 bytes at ", ", 4 bytes before the start of buffer t of 4096 bytes in block"),
    ({"writes": 7}, "a write of 4 bytes at ", ", just past the end of buffer z of 28 bytes in block"),
]  # fmt: skip


@pytest.fixture(scope="module")
def action(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The action in a folder, with an input of ones."""
    folder = tmp_path_factory.mktemp("edge")
    (folder / "kaas.yaml").write_text(MANIFEST)
    (folder / "edge.cu").write_text(SOURCE)
    np.save(folder / "x.npy", np.ones(7, np.float32))
    return folder


def given(params: dict[str, Any]) -> list[str]:
    return [word for name, value in params.items() for word in ("-p", f"{name}={json.dumps(value)}")]


# ***** kaas run *****


@pytest.mark.parametrize(("params", "access", "where"), BEYOND)
def test_a_run_tells_what_is_out_of_bounds(action: Path, params: dict[str, int], access: str, where: str) -> None:
    done = kaas("run", action, "--checked", "--device", "emulated", "-p", f"x=@{action}/x.npy", *given(params))
    assert done.returncode == 1
    assert f"put (edge.cu:2): {access}" in done.stderr
    assert where in done.stderr


@pytest.mark.parametrize(("words", "environment"), [(["--checked"], {}), ([], ON)], ids=["option", "variable"])
def test_a_run_shows_what_was_not_written(
    action: Path, tmp_path: Path, words: list[str], environment: dict[str, str]
) -> None:
    saved = tmp_path / "z.npy"
    arguments = ["-p", f"x=@{action}/x.npy", "-o", f"z={saved}", "--device", "emulated", *words]
    assert kaas("run", action, *arguments, environment=environment).returncode == 0
    written = np.load(saved)
    assert written[0] == 1
    assert np.isnan(written[1:]).all()
    # What the second kernel reads was never written.
    assert kaas("run", action, *arguments, "-p", "keeps=5", environment=environment).returncode == 0
    assert np.isnan(np.load(saved)).all()


def test_without_the_mode_it_is_let_pass(action: Path) -> None:
    """Where nothing else stands; so that the other tests are about the mode."""
    done = kaas("run", action, "--device", "emulated", "-p", f"x=@{action}/x.npy", "-p", "writes=7")
    assert done.returncode == 0, done.stderr


def test_on_a_gpu_it_says_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CHECKED, raising=False)
    with pytest.raises(Failure) as caught:
        turn_checks_on("cuda")
    assert "compute-sanitizer kaas run" in str(caught.value.hint)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_is_found_in_the_examples(name: str, tmp_path: Path) -> None:
    example = load_example(name)
    (tmp_path / "action.zip").write_bytes(example.content)
    words = ["--checked", "--device", "emulated", *given(dict(example.params))]
    for buffer, array in example.inputs.items():
        np.save(tmp_path / f"{buffer}.npy", array)
        words += ["-p", f"{buffer}=@{buffer}.npy"]
    for buffer in example.expected:
        words += ["-o", f"{buffer}=out-{buffer}.npy"]
    done = kaas("run", "action.zip", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert example.is_equal({buffer: np.load(tmp_path / f"out-{buffer}.npy") for buffer in example.expected})


# ***** a pool *****


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of a stack that `kaas up` has started in the mode."""
    environment = {"KAAS_STATE_DIR": str(tmp_path_factory.mktemp("checked") / "state"), **ON}
    try:
        started = kaas("up", "--device", "emulated", environment=environment)
        assert started.returncode == 0, started.stderr
        yield environment
    finally:
        kaas("down", environment=environment)


def invoke(stack: dict[str, str], action: Path, params: dict[str, Any]) -> Any:
    """The answer, or the error's text."""
    done = kaas("invoke", action, *given({"x": [1.0] * 7, "z": "inline", **params}), environment=stack)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr


def test_a_pool_hands_the_mode_to_its_compilers_and_executors(stack: dict[str, str], action: Path) -> None:
    assert ", just past the end of buffer z of 28 bytes in block (0,0,0)" in invoke(stack, action, {"writes": 7})
    # A new executor, after the fault has ended the other; all of `z` is written, then only its first element.
    assert invoke(stack, action, {"count": 7})["z"] == [1.0] * 7
    for _ in range(2):
        content = np.frombuffer(base64.b64decode(invoke(stack, action, {})["z"]["base64"]), np.float32)
        assert content[0] == 1
        assert np.isnan(content[1:]).all()
    assert "4 bytes before the start of buffer t of 4096 bytes" in invoke(stack, action, {"keeps": -1})
