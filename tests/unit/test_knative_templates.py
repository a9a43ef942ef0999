"""The templates for Knative's func, without func: what they hold, that they agree, and their own tests."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from helm_chart import CHART, FOR, Helm, choose, find, flags, helm_binary

from kaas.bundle import Bundle
from kaas.call import Call
from kaas.errors import ERRORS

REPOSITORY = Path(__file__).parents[2] / "runtime" / "knative" / "templates"
SAXPY = Path(__file__).parents[2] / "examples" / "saxpy"
TEMPLATES = ("kaas", "kaas-events")
ENVS = ["func", "config", "envs"]


def created(template: str, folder: Path) -> Path:
    """What `func create` makes of a template, but for `func.yaml`: it leaves out what is called manifest.yaml."""
    made = folder / "fn"
    shutil.copytree(
        REPOSITORY / "python" / template, made, ignore=shutil.ignore_patterns("manifest.yaml", "__pycache__")
    )
    return made


def in_function(
    folder: Path,
    *arguments: str,
    path: Path | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
    fails: bool = False,
) -> str:
    """Run Python in a function's folder, with `path` in place of what pip installs; what it prints."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("KAAS_", "PYTEST_", "SSL_", "K_"))}
    done = subprocess.run(
        [sys.executable, "-B", *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(path or folder), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout


def packed(folder: Path) -> tuple[Bundle, str]:
    """The bundle that a function gives the pool, and what it says that its digest is."""
    path = folder.parent / "bundle.zip"
    program = """if True:
        import pathlib, sys
        from function.func import EXAMPLE
        from function.pool import Pool, bundle
        pathlib.Path(sys.argv[1]).write_bytes(bundle())
        print(Pool(EXAMPLE).digest)"""
    digest = in_function(folder, "-c", program, str(path)).strip()
    return Bundle.open(path.read_bytes()), digest


def own_tests(folder: Path, *, fail: bool = False) -> str:
    """Run `pytest` in a function's folder, while a copy of the function is installed that nobody can import."""
    installed = folder.parent / "installed"
    (installed / "function").mkdir(parents=True, exist_ok=True)
    (installed / "function" / "__init__.py").write_text("raise AssertionError('this is the installed copy')")
    pytest_script = str(Path(sys.executable).with_name("pytest"))
    return in_function(folder, pytest_script, "-q", "-p", "no:cacheprovider", "-W", "error", path=installed, fails=fail)


def test_every_folder_is_a_runtime_or_a_template() -> None:
    """func takes each folder at the top for a language, and each below it for a template."""
    folders = [path for path in REPOSITORY.iterdir() if path.is_dir()]
    assert [path.name for path in folders] == ["python"]
    assert sorted(path.name for path in folders[0].iterdir()) == sorted(TEMPLATES)


def test_the_manifests() -> None:
    top = yaml.safe_load((REPOSITORY / "manifest.yaml").read_text())
    assert top["healthEndpoints"] == {"liveness": "/health/liveness", "readiness": "/health/readiness"}
    assert top["templates"] == "."
    assert yaml.safe_load((REPOSITORY / "python/kaas-events/manifest.yaml").read_text()) == {"invoke": "cloudevent"}


@pytest.mark.parametrize(
    "path", ["function/pool.py", "function/kernel/kaas.yaml", "function/kernel/scale.cu", "tests/conftest.py"]
)
def test_the_templates_share_what_they_share_word_for_word(path: str) -> None:
    one, other = (REPOSITORY / "python" / template / path for template in TEMPLATES)
    assert one.read_bytes() == other.read_bytes()


def test_errors_have_the_statuses_of_the_table(tmp_path: Path) -> None:
    program = f"""if True:
        import json
        from function.pool import STATUSES, PoolError
        statuses = {{code: PoolError({{"code": code, "message": ""}}).status for code in {list(ERRORS)!r}}}
        print(json.dumps([statuses, sorted(STATUSES)]))"""
    statuses, named = json.loads(in_function(created("kaas", tmp_path), "-c", program))
    table = {code: row.knative for code, row in ERRORS.items() if row.knative is not None}
    assert {code: statuses[code] for code in table} == table
    assert named == sorted(code for code, status in table.items() if status != 422)


def test_the_bundle_is_one(tmp_path: Path) -> None:
    bundle, digest = packed(created("kaas", tmp_path))
    assert (bundle.manifest.name, bundle.digest) == ("scale", digest)


@pytest.mark.parametrize("template", TEMPLATES)
def test_their_own_tests_pass(template: str, tmp_path: Path) -> None:
    assert " passed" in own_tests(created(template, tmp_path))


@pytest.mark.parametrize("template", TEMPLATES)
def test_their_own_tests_are_of_the_code_beside_them(template: str, tmp_path: Path) -> None:
    folder = created(template, tmp_path)
    code = folder / "function" / "func.py"
    code.write_text(code.read_text().replace("self._pool.invoke(arguments", "self._pool.invoke({}"))
    assert "failed" in own_tests(folder, fail=True)


@pytest.mark.parametrize("template", TEMPLATES)
def test_another_kernel_takes_another_example_and_no_more(template: str, tmp_path: Path) -> None:
    """As the README says: other files in `kernel/`, here in a folder, too, and one line of func.py."""
    folder = created(template, tmp_path)
    kernel = folder / "function" / "kernel"
    shutil.rmtree(kernel)
    for name in ("sources", "__pycache__"):
        (kernel / name).mkdir(parents=True)
    (kernel / "kaas.yaml").write_text((SAXPY / "kaas.yaml").read_text().replace("saxpy.cu", "sources/saxpy.cu"))
    shutil.copy(SAXPY / "saxpy.cu", kernel / "sources")
    (kernel / "__pycache__" / "generate.cpython-312.pyc").write_bytes(b"another each time that pip installs it")
    code = folder / "function" / "func.py"
    example = {"x": [1, 2], "y": [3, 4], "a": 2, "z": "inline"}
    text, adapted = re.subn("^EXAMPLE = .*$", f"EXAMPLE = {example}", code.read_text(), flags=re.MULTILINE)
    assert adapted == 1
    code.write_text(text)

    bundle, _ = packed(folder)
    assert sorted(bundle.files) == ["kaas.yaml", "sources/saxpy.cu"]
    assert not Call.parse(bundle.manifest, example, activation_id="a").unknown
    assert " passed" in own_tests(folder)
    rest = [path for path in folder.rglob("*.py") if re.search(r"\b(scale|factor)\b", path.read_text())]
    assert not rest


def commands(readme: Path) -> list[list[str]]:
    """The words of the command lines that a README has."""
    text = "\n".join(line.strip() for line in readme.read_text().splitlines() if line.startswith("    "))
    return [shlex.split(line) for line in re.sub(r"\\\n|(?<=\|)\n", " ", text).splitlines()]


def options(words: list[str]) -> dict[str, str]:
    """The options among them, with their values."""
    return {word: value for word, value in pairwise(words) if word.startswith("-")}


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_readme_names_what_the_chart_makes(template: str, pytestconfig: pytest.Config) -> None:
    lines = commands(REPOSITORY / "python" / template / "README.md")
    (upgrade,) = [words for words in lines if words[:2] == ["helm", "upgrade"]]
    settings = (*choose("gpu", "external", "knative"), "tls.secret=kaas-tls")
    more = ("--namespace", options(upgrade)["-n"], "--set-json", options(upgrade)["--set-json"])
    helm = Helm(helm_binary(bool(pytestconfig.getoption("--slow"))))
    done = helm.run("template", upgrade[2], str(CHART), *FOR, *flags(settings), *more)
    assert done.returncode == 0, done.stderr
    manifests = [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]
    (policy,) = [one for one in manifests if one["kind"] == "NetworkPolicy"]
    (deploy,) = [words for words in lines if words[:2] == ["func", "deploy"]]
    assert {"kubernetes.io/metadata.name": options(deploy)["--namespace"]} in [
        peer.get("namespaceSelector", {}).get("matchLabels") for peer in policy["spec"]["ingress"][0]["from"]
    ]

    # What the chart gives a Knative Service of its own, the function is given, too.
    service = find(manifests, "Service", "kaas-saxpy")
    pod = service["spec"]["template"]["spec"]
    wanted = {one["name"]: one for one in pod["containers"][0]["env"]}
    given = {options(words)["--name"]: options(words)["--value"] for words in lines if words[:3] == ENVS}
    assert given["KAAS_POOL_URL"] == wanted["KAAS_POOL_URL"]["value"]
    token = wanted["KAAS_TOKEN"]["valueFrom"]["secretKeyRef"]
    assert given["KAAS_TOKEN"] == f"{{{{ secret:{token['name']}:{token['key']} }}}}"

    # Each Secret that it uses is copied from one of the chart's, or one that the chart is told of.
    copies = {}
    for words in lines:
        if words[:3] == ["kubectl", "get", "secret"]:
            name, key = words[5], options(words)["-o"].removeprefix("jsonpath={.data.").removesuffix("}")
            create = words[words.index("create") :]
            assert options(create)["-n"] == options(deploy)["--namespace"]
            copies[create[5]] = (name, key.replace("\\.", "."), create[6])
    assert copies == {
        token["name"]: (token["name"], token["key"], f"--from-file={token['key']}=/dev/stdin"),
        "kaas-ca": ("kaas-tls", "ca.crt", "--from-file=ca.crt=/dev/stdin"),
    }
    (volume,) = [options(words) for words in lines if words[:3] == ["func", "config", "volumes"]]
    assert (volume["--type"], volume["--source"]) == ("secret", "kaas-ca")
    assert given["SSL_CERT_FILE"] == f"{volume['--mount-path']}/ca.crt"
    (authority,) = [one for one in pod["volumes"] if one.get("secret", {}).get("secretName") == "kaas-tls"]
    assert authority["secret"]["items"][0]["key"] == "ca.crt"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an authority of its own, for 127.0.0.1 and no other name."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "ca.crt"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=pool -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [*command.split(), "-keyout", path.with_suffix(".key"), "-out", path], check=True, capture_output=True
    )
    return path


class TlsPool(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        data = b'{"state": "done", "result": {"y": [1]}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def tls_port(certificate: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    with ThreadingHTTPServer(("127.0.0.1", 0), TlsPool) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_certificate_that_is_not_trusted(certificate: Path, tls_port: int, tmp_path: Path) -> None:
    """The error names the variable that says which authority to trust, and what it is."""
    folder = created("kaas", tmp_path)
    program = """if True:
        import asyncio, json
        from function.pool import Pool, PoolError
        try:
            print(json.dumps(asyncio.run(Pool({}).invoke({}))))
        except PoolError as error:
            print(json.dumps(error.error))"""

    def said(host: str, **variables: str) -> dict[str, Any]:
        pool = {"KAAS_POOL_URL": f"https://{host}:{tls_port}", "KAAS_TOKEN": "t"}
        text = in_function(folder, "-c", program, variables={**pool, **variables})
        answer: dict[str, Any] = json.loads(text)
        return answer

    assert said("127.0.0.1", SSL_CERT_FILE=str(certificate)) == {"y": [1]}
    for variables, now in (({}, "it is not set"), ({"SSL_CERT_FILE": "/no/ca.crt"}, "it is '/no/ca.crt'")):
        error = said("127.0.0.1", **variables)
        assert error["code"] == "pool_unreachable"
        assert f"the certificate of the pool at https://127.0.0.1:{tls_port} is not trusted: " in error["message"]
        assert error["hint"].startswith("SSL_CERT_FILE has to name ")
        assert error["hint"].endswith(now)
    error = said("localhost", SSL_CERT_FILE=str(certificate))
    assert "not valid for 'localhost'" in error["message"]
    assert error["hint"] == "KAAS_POOL_URL has to have a name that the certificate is for"
