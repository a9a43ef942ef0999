"""The pool's command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaas_pool.spawn import environment
from kaas_pool.supervisor import commands
from kaas_pool.supervisor.config import PoolConfig, parse_arguments


def parse(tmp_path: Path, *arguments: str) -> PoolConfig:
    return parse_arguments(["--state-dir", str(tmp_path), "--device", "emulated", *arguments])


def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        parse(tmp_path, *arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_defaults(tmp_path: Path) -> None:
    config = parse(tmp_path)
    assert (config.host, config.port, config.devices) == ("127.0.0.1", 7233, 1)
    assert config.tokens == tmp_path / "tokens.json"
    assert config.stores == tmp_path / "stores.json"
    assert config.mover_socket == tmp_path / "run" / "mover.sock"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("[::1]:80", "::1", 80), ("localhost:0", "localhost", 0), ("127.0.0.2:9", "127.0.0.2", 9)],
)
def test_listen(tmp_path: Path, text: str, host: str, port: int) -> None:
    config = parse(tmp_path, "--listen", text)
    assert (config.host, config.port) == (host, port)


@pytest.mark.parametrize("text", ["7233", "host", ":7233", "host:port", "host:99999"])
def test_listen_that_makes_no_sense(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert "HOST:PORT" in refused(tmp_path, capsys, "--listen", text)


def test_an_emulated_pool_stays_on_loopback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "native code" in refused(tmp_path, capsys, "--listen", "0.0.0.0:7233")
    with_tls = ("--listen", "0.0.0.0:7233", "--tls-cert", "c.pem", "--tls-key", "k.pem")
    assert "native code" in refused(tmp_path, capsys, *with_tls)
    assert parse(tmp_path, *with_tls, "--insecure-listen").host == "0.0.0.0"


def test_tls_needs_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "go together" in refused(tmp_path, capsys, "--tls-cert", "c.pem")


def test_domains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = parse(tmp_path, "--domain-of", "alice=shared", "--domain-of", "bob=shared")
    assert config.domains == {"alice": "shared", "bob": "shared"}
    assert "TENANT=DOMAIN" in refused(tmp_path, capsys, "--domain-of", "alice")


def test_at_least_one_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "at least 1" in refused(tmp_path, capsys, "--devices", "0")


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is an NVIDIA driver here")
def test_cuda_is_never_emulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no NVIDIA driver here" in refused(tmp_path, capsys, "--device", "cuda")


def test_settings_reach_the_children(tmp_path: Path) -> None:
    config = parse(
        tmp_path, "--devices", "2", "--slots", "3", "--host-bytes", "8G", "--domain-of", "a=b", "--allow-unsandboxed"
    )
    config.stores.write_text("{}")
    front = " ".join(commands.front(config, None).arguments)
    assert "--kind emulated --devices 0,1" in front
    assert "--slots 3" in front
    assert "--domain-of a=b" in front
    assert "--port 7233" in front
    assert "--port 4711" in " ".join(commands.front(config, 4711).arguments)
    mover = " ".join(commands.mover(config).arguments)
    assert f"--stores {config.stores} --host-bytes 8G" in mover
    executor = commands.executor(config, "1", "b", tmp_path / "scratch")
    assert "--device 1 --domain b" in " ".join(executor.arguments)
    assert "--allow-unsandboxed" in executor.arguments
    assert executor.environ["KAAS_EMULATOR_DEVICES"] == "2"
    assert "stores" not in " ".join((*executor.arguments, front))


def test_children_get_an_allow_list_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAAS_TOKEN", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "OW_API_KEY"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    kept = environment({"TMPDIR": "/scratch"})
    assert "secret" not in kept.values()
    assert kept["CUDA_VISIBLE_DEVICES"] == "1"
    assert kept["TMPDIR"] == "/scratch"


@pytest.mark.parametrize("url", ["https://openwhisk.example", "http://127.0.0.1:3233", "http://localhost:3233/"])
def test_a_controller(tmp_path: Path, url: str) -> None:
    assert f"--controller {url}" in " ".join(commands.front(parse(tmp_path, "--controller", url), None).arguments)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("openwhisk.example", "without a path"),
        ("https://openwhisk.example/api/v1", "without a path"),
        ("https://user:key@openwhisk.example", "without a path"),
        ("http://[::1", "no URL"),
        ("http://openwhisk.example", "unencrypted"),
    ],
)
def test_a_controller_that_makes_no_sense(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str, words: str
) -> None:
    assert words in refused(tmp_path, capsys, "--controller", url)
