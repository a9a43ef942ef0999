"""The pool's image and the compose file for one machine, as text: nothing here has a container engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_home import SCRIPT, empty_home, initialise, variables
from helm_chart import CHART
from image_files import HADOLINT, ROOT, copied, lock_entries, needed

from kaas_pool.front.tokens import Tokens
from kaas_pool.mover.stores_file import read_stores_file
from kaas_pool.supervisor.config import parse_arguments

POOL = ROOT / "gpu-pool"
DOCKERFILE = POOL / "Dockerfile"
TEXT = DOCKERFILE.read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((POOL / "compose.yaml").read_text())
#: The Pythons of the two bases.
PYTHONS = ("3.10", "3.13")


@pytest.mark.parametrize(("device", "extras"), [("cuda", ["pool", "gpu"]), ("emulated", ["pool"])])
def test_the_packages_are_the_locked_ones_and_all_that_the_pool_needs(device: str, extras: list[str]) -> None:
    locked = lock_entries(ROOT / "requirements.lock")
    taken = lock_entries(POOL / f"requirements-{device}.txt")
    assert {name: locked[name] for name in taken} == taken, "copy the entries of requirements.lock"
    # PyCUDA is built in the image, and what it needs is in the extra.
    assert taken.keys() == needed(extras, PYTHONS)
    assert f"requirements-{'$'}{{DEVICE}}.txt" in TEXT


def test_what_is_copied_is_there_and_not_ignored() -> None:
    allowed = [
        line[1:]
        for line in (POOL / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!") and list(ROOT.glob(line[1:]))
    ]
    for source in copied(DOCKERFILE):
        pattern = source.replace("${DEVICE}", "*")
        assert list(ROOT.glob(pattern)), source
        assert any(Path(pattern).is_relative_to(one) or pattern == one for one in allowed), source


def test_everything_from_outside_is_pinned() -> None:
    bases = dict(re.findall(r"^ARG (\w+)=(\S+)$", TEXT, re.MULTILINE))
    assert bases.pop("DEVICE") == "cuda", "an image that runs callers' code on the processor is asked for by name"
    assert all(re.search(r":\d+\.\d+\.\d+-\S+$", base) for base in bases.values()), bases
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", TEXT, re.MULTILINE)
    made = {name for _, name in stages if name}
    for base, _ in stages:
        names = [base.replace("${DEVICE}", device) for device in ("cuda", "emulated")]
        assert base in {f"${{{name}}}" for name in bases} or made.issuperset(names), base
    for install in re.findall(r"pip install((?:[^\n]|\\\n)*)", TEXT):
        assert "--require-hashes" in install or "--no-index" in install


def test_the_image_is_not_roots() -> None:
    final = TEXT[TEXT.rindex("\nFROM ") :]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE)
    assert final.index("USER ") < final.index("ENTRYPOINT ")
    user = re.findall(r"^USER (\d+)", final, re.MULTILINE)
    assert f"runAsUser: {user[0]}" in (CHART / "templates" / "_helpers.tpl").read_text()


@pytest.mark.parametrize(
    "dockerfile", [DOCKERFILE, ROOT / "runtime" / "openwhisk" / "Dockerfile"], ids=["pool", "action"]
)
def test_what_a_strict_umask_keeps_from_others_is_the_images_users_to_read(dockerfile: Path) -> None:
    """A builder copies files with the modes that they have in the checkout, as root's."""
    *_, packages, final = dockerfile.read_text().split("\nFROM ")
    assert " AS packages" in packages.splitlines()[0]
    last = re.split(r"^(?=[A-Z]+ )", packages, flags=re.MULTILINE)[-1]
    assert re.search(r"^RUN .*&& chmod -R a\+rX /opt/kaas$", last.split("#")[0].replace("\\\n", ""), re.MULTILINE)
    assert re.findall(r"^COPY .*", final, re.MULTILINE) == ["COPY --from=packages /opt/kaas /opt/kaas"]


def test_the_chart_and_the_dockerfile_name_the_images_alike() -> None:
    built = set(re.findall(r"docker build .* -t (\S+) \.", TEXT))
    images = yaml.safe_load((CHART / "values.yaml").read_text())["images"]
    assert built == {images["pool"], images["emulated"]}
    composed = COMPOSE["services"]["pool"]["image"]
    assert built == {composed.replace("${KAAS_DEVICE}", device) for device in ("cuda", "emulated")}
    assert COMPOSE["services"]["store"]["image"] == images["store"]


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([HADOLINT, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


SERVICE_KEYS = frozenset(
    [
        "user",
        "restart",
        "init",
        "read_only",
        "cap_drop",
        "security_opt",
        "tmpfs",
        "image",
        "build",
        "entrypoint",
        "command",
        "environment",
        "volumes",
        "secrets",
        "ports",
        "networks",
        "healthcheck",
        "depends_on",
        "stop_grace_period",
        "mem_limit",
    ]
)


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_no_service_may_more_than_it_must(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service.keys() <= SERVICE_KEYS
    assert service["user"].startswith("${KAAS_USER:?")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "mem_limit" in service
    assert not service["image"].endswith(":latest")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert set(service["secrets"]) <= COMPOSE["secrets"].keys()
    assert set(service["networks"]) <= COMPOSE["networks"].keys()


def test_the_mover_alone_has_the_stores_key_and_reaches_the_store() -> None:
    services = COMPOSE["services"]
    assert {name: service["secrets"] for name, service in services.items()} == {
        "store": ["s3.json"],
        "mover": ["stores.json"],
        "pool": ["tokens.json"],
    }
    assert [name for name, service in services.items() if "store" in service["networks"]] == ["store", "mover"]


@pytest.mark.parametrize("device", ["emulated", "cuda"])
def test_what_compose_starts_is_accepted_by_the_program(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kaas_pool.supervisor.config._DRIVER_NODES", ("/dev/null",))
    pool, mover = (COMPOSE["services"][name] for name in ("pool", "mover"))
    read = parse_arguments([word.replace("${KAAS_DEVICE}", device) for word in pool["command"]])
    assert read.device == device
    assert f"--socket={read.mover_socket}" in mover["command"]
    assert str(read.tokens) == "/run/secrets/tokens.json"
    grace = float(pool["stop_grace_period"].removesuffix("s"))
    assert grace >= read.drain + 5, "the supervisor's own margin"


def test_the_store_has_the_charts_options() -> None:
    text = (CHART / "templates" / "store.yaml").read_text()
    charts = set(re.findall(r"^            - (-\S+)$", text, re.MULTILINE))
    assert {
        word.replace("/run/secrets/", "/etc/kaas/store/") for word in COMPOSE["services"]["store"]["command"]
    } == charts


@pytest.fixture
def home() -> Iterator[Path]:
    with empty_home() as folder:
        yield folder


def test_the_folder_has_what_compose_names(home: Path) -> None:
    done = initialise(home)
    assert (done.returncode, done.stdout) == (0, f"{home}/env\n"), done.stderr
    values = variables(home)
    asked = set(re.findall(r"\$\{(KAAS_\w+)", (POOL / "compose.yaml").read_text()))
    assert asked <= values.keys()
    assert values["KAAS_DEVICE"] == "emulated"
    for secret in COMPOSE["secrets"].values():
        path = Path(secret["file"].replace("${KAAS_HOME}", values["KAAS_HOME"]))
        assert path.stat().st_mode & 0o777 == 0o600

    token = values["KAAS_TOKEN"]
    assert Tokens(home / "tokens.json").identify(f"Bearer {token}").tenant == "guest"
    assert sha256(token.encode()).hexdigest() in (home / "tokens.json").read_text()
    rights = read_stores_file(home / "stores.json")["guest"]
    assert rights.endpoint == "http://store:8333", "the service's name, and its port"
    (identity,) = json.loads((home / "s3.json").read_text())["identities"]
    assert identity["credentials"] == [{"accessKey": rights.access_key, "secretKey": rights.secret_key}]
    assert (values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"]) == (rights.access_key, rights.secret_key)

    before = (home / "env").read_text()
    assert initialise(home).returncode == 0
    assert (home / "env").read_text() == before, "keys are made once"


def test_a_device_that_there_is_not_is_refused(home: Path) -> None:
    done = initialise(home, "gpu")
    assert done.returncode == 2
    assert "emulated or cuda" in done.stderr
    assert not list(home.iterdir())


def test_what_a_shell_and_compose_read_of_it_is_the_same(home: Path) -> None:
    """The folder may have blanks in its name."""
    folder = home / "my pool"
    assert initialise(folder).returncode == 0
    values = variables(folder)
    assert values["KAAS_HOME"] == str(folder)
    script = f'set -eu -a; . "{folder}/env"; env -0'
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
    )
    sourced = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    assert values.items() <= sourced.items()


def test_a_second_call_changes_the_device_and_no_key(home: Path) -> None:
    assert initialise(home).returncode == 0
    before = variables(home)
    assert initialise(home, "cuda").returncode == 0
    assert variables(home) == {**before, "KAAS_DEVICE": "cuda"}
    assert initialise(home).returncode == 0
    assert variables(home)["KAAS_DEVICE"] == "cuda", "without a device it stays"
    assert (home / "env").stat().st_mode & 0o777 == 0o600

    moved = home / "moved"
    moved.mkdir()
    moved.chmod(0o777)
    (home / "env").rename(moved / "env")
    assert initialise(moved).returncode == 0
    assert variables(moved) == {**before, "KAAS_DEVICE": "cuda", "KAAS_HOME": str(moved)}


@pytest.mark.parametrize("name", ["a'b", "a:b", "a$b", 'a"b', "a\nb", "a\\b"])
def test_a_folder_that_compose_cannot_name_is_refused(home: Path, name: str) -> None:
    done = initialise(home / name)
    assert done.returncode == 2
    assert "another folder" in done.stderr
    assert not list(home.iterdir())


def test_a_relative_folder_is_below_the_current_one(home: Path) -> None:
    (home / "elsewhere" / "pool").mkdir(parents=True)
    done = initialise(Path("pool"), cwd=home, environment={"CDPATH": str(home / "elsewhere")})
    assert (done.returncode, done.stdout) == (0, f"{home}/pool/env\n"), done.stderr
    done = initialise(Path("-p"), cwd=home)
    assert (done.returncode, done.stdout) == (0, f"{home}/-p/env\n"), done.stderr


def test_a_folder_without_rights_is_refused_with_its_name(home: Path) -> None:
    home.chmod(0o500)
    done = initialise(home / "pool")
    assert done.returncode != 0
    assert str(home / "pool") in done.stderr
    assert not list(home.iterdir())


def test_what_was_interrupted_is_made_again(home: Path) -> None:
    assert initialise(home).returncode == 0
    first = variables(home)
    (home / "env").unlink()
    assert initialise(home).returncode == 0
    again = variables(home)
    assert again["KAAS_TOKEN"] != first["KAAS_TOKEN"]
    assert Tokens(home / "tokens.json").identify(f"Bearer {again['KAAS_TOKEN']}").tenant == "guest"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be root")
def test_root_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(["bash", str(SCRIPT), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "must not be root" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    shutil.which("docker") is None
    or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0,
    reason="no docker with its plugin compose here",
)
@pytest.mark.parametrize("files", [["compose.yaml"], ["compose.yaml", "compose.cuda.yaml"]])
def test_docker_compose_reads_it(home: Path, files: list[str]) -> None:
    folder = home / "my pool"
    assert initialise(folder).returncode == 0
    words = [word for name in files for word in ("-f", str(POOL / name))]
    done = subprocess.run(
        ["docker", "compose", "--env-file", str(folder / "env"), *words, "config", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    read = json.loads(done.stdout)
    assert {secret["file"] for secret in read["secrets"].values()} == {
        f"{folder}/{name}.json" for name in ("s3", "stores", "tokens")
    }
    assert read["services"]["pool"]["user"] == variables(folder)["KAAS_USER"]
