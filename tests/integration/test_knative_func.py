"""Knative's own `func`, unmodified: a function from the template repository, run on this machine and invoked.

`func run` makes a venv and installs into it from the package index, so this takes a network, and runs with --slow.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shlex
import signal
import socket
import string
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from front_process import SAXPY, wait_until
from knative_service import ready_service
from openwhisk_clients import ROOT, func_binary
from pool_process import PoolProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

REPOSITORY = ROOT / "runtime" / "knative" / "templates"


class Func:
    """The command, with settings of its own."""

    def __init__(self, binary: Path, home: Path, pool: PoolProcess) -> None:
        self._binary = binary
        self.home = home
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("FUNC_", "KAAS_", "PYTHON"))}
        self.environment = {
            **kept,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "KAAS_POOL_URL": f"http://127.0.0.1:{pool.port}",
            "KAAS_TOKEN": "alice-token",
        }

    def __call__(self, *words: str, cwd: Path | None = None, fails: bool = False) -> str:
        """Run `func WORDS`; what it prints, on standard error if it fails."""
        done = subprocess.run(
            [self._binary, *words],
            cwd=cwd or self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        said = f"func {' '.join(words)} -> {done.returncode}\n{done.stdout}{done.stderr}"
        assert (done.returncode != 0) == fails, said
        return done.stderr if fails else done.stdout

    def create(self, template: str, name: str | None = None) -> Path:
        """`func create` from the repository."""
        folder = self.home / (name or template)
        self("create", "-l", "python", "-t", template, "-r", f"file://{REPOSITORY}", str(folder))
        return folder

    @contextlib.contextmanager
    def running(self, folder: Path, *more: str) -> Iterator[int]:
        """`func run --builder=host` until the end of the block; its port."""
        port = free_port()
        with (folder.with_suffix(".log")).open("wb") as log:
            process = subprocess.Popen(
                [self._binary, "run", "--builder=host", f"--address=127.0.0.1:{port}", *more],
                cwd=folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            said = folder.with_suffix(".log")
            wait_for(lambda: process.poll() is not None or "Function running on" in said.read_text())
            assert process.poll() is None, said.read_text()
            yield port
        finally:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def wait_for(condition: Any) -> None:
    """As `wait_until`, and as long as installing packages may take."""
    for _ in range(10):
        with contextlib.suppress(AssertionError):
            return wait_until(condition)
    return wait_until(condition)


@pytest.fixture(scope="module")
def func(pool: PoolProcess, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Func:
    binary = func_binary(may_build=bool(pytestconfig.getoption("--slow")))
    return Func(binary, tmp_path_factory.mktemp("func"), pool)


def delivered(port: int, kind: str, body: bytes) -> int:
    """The status that answers an event."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "/test", "type": kind}
    headers = {f"ce-{name}": value for name, value in headers.items()}
    with contextlib.closing(connection):
        connection.request("POST", "/", body, {"Content-Type": "application/json", **headers})
        return connection.getresponse().status


def printed(text: str) -> Any:
    """The JSON that `func invoke` prints, after what it says of an event."""
    return json.loads(text[text.index("{") :])


def test_templates_are_listed(func: Func) -> None:
    func("repository", "add", "kaas", f"file://{REPOSITORY}")
    assert {"kaas/kaas", "kaas/kaas-events"} <= set(func("templates", "python").split())
    func("create", "-l", "python", "-t", "kaas/kaas", str(func.home / "added"))
    assert (func.home / "added" / "function" / "kernel" / "kaas.yaml").exists()


def test_a_function_of_the_template_kaas(func: Func) -> None:
    folder = func.create("kaas")
    assert (folder / "function" / "kernel" / "scale.cu").exists()
    assert not (folder / "manifest.yaml").exists()
    with func.running(folder):
        hint = printed(func("invoke", cwd=folder))
        assert '"x": [1, 2, 3]' in hint["hint"]
        assert hint["example"]["y"] == [2.0, 4.0, 6.0]
        answer = printed(func("invoke", "--data", '{"x": [1, 2, 3], "factor": 10}', cwd=folder))
        assert answer["y"] == [10.0, 20.0, 30.0]
        assert "422" in func("invoke", "--data", '{"X": [1]}', cwd=folder, fails=True)
    assert "input_missing" in folder.with_suffix(".log").read_text()


def test_a_function_of_the_template_kaas_events(func: Func) -> None:
    folder = func.create("kaas-events")
    with func.running(folder) as port:
        hint = func("invoke", cwd=folder)
        assert "dev.kaas.hint" in hint
        assert printed(hint)["example"]["y"] == [2.0, 4.0, 6.0]
        said = func("invoke", "--data", '{"x": [1, 2, 3], "factor": 10}', cwd=folder)
        assert "dev.kaas.result" in said
        assert printed(said)["y"] == [10.0, 20.0, 30.0]
        # func shows an error and calls it no failure; a Broker goes by the status.
        error = func("invoke", "--data", '{"X": [1]}', cwd=folder)
        assert "dev.kaas.error" in error
        assert printed(error)["error"]["code"] == "input_missing"
        for kind, body in (("boson.fn", b'{"X": [1]}'), ("dev.kaas.invoke", b'{"message": "Hello World"}')):
            assert delivered(port, kind, body) == 422
        assert delivered(port, "dev.kaas.invoke", b'{"x": [1]}') == 200


def test_the_settings_of_the_readme(func: Func) -> None:
    """func takes them, and `func run` still runs the function here as the README says."""
    folder = func.create("kaas", "deployed")
    for line in re.findall(r"func config [^`\n]+", (folder / "README.md").read_text()):
        func(*shlex.split(line)[1:], cwd=folder)
    settings = yaml.safe_load((folder / "func.yaml").read_text())
    assert {one["name"]: one["value"] for one in settings["run"]["envs"]} == {
        "KAAS_POOL_URL": "https://kaas.kaas.svc:7233",
        "KAAS_TOKEN": "{{ secret:kaas-client:token }}",
        "SSL_CERT_FILE": "/etc/kaas/ca.crt",
    }
    assert settings["run"]["volumes"] == [{"secret": "kaas-ca", "path": "/etc/kaas"}]
    assert settings["deploy"]["labels"] == [{"key": "networking.knative.dev/visibility", "value": "cluster-local"}]
    here = re.search(r"`func run --builder=host (-e .*?)`", (folder / "README.md").read_text())
    assert here is not None
    words = [string.Template(word).substitute(func.environment) for word in here[1].split()]
    with func.running(folder, *words):
        assert printed(func("invoke", "--data", '{"x": [1, 2, 3]}', cwd=folder))["y"] == [2.0, 4.0, 6.0]


@pytest.mark.parametrize("template", ["kaas", "kaas-events"])
def test_its_tests_run_as_the_readme_says(func: Func, template: str, tmp_path: Path) -> None:
    folder = func.create(template, f"{template}-tested")
    lines = re.search(r"(?<=\n\n)    python3 -m venv .*?\n    pytest\n", (folder / "README.md").read_text(), re.DOTALL)
    assert lines is not None
    script = lines[0].replace("/tmp/venv", str(tmp_path / "venv"))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("KAAS_", "PYTEST_", "PYTHON"))}
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=kept, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.parametrize("form", ["http", "cloudevent"])
def test_func_invokes_a_service(func: Func, pool: PoolProcess, tmp_path: Path, form: str) -> None:
    """`func invoke --target`: the Service is no function, but func wants to be called from the folder of one."""
    folder = tmp_path / "fn"
    func("create", "-l", "python", "-t", "kaas", "-r", f"file://{REPOSITORY}", str(folder))
    action = tmp_path / "kaas.yaml"
    action.write_text(SAXPY)
    data = '{"x": [1, 2], "y": [3, 4], "a": 2, "z": "inline"}'
    with ready_service(tmp_path / "service", f"http://127.0.0.1:{pool.port}", action) as service:
        target = f"http://127.0.0.1:{service.port}"
        said = func("invoke", "--target", target, "-f", form, "--data", data, cwd=folder)
    assert printed(said)["z"] == [5.0, 8.0]
