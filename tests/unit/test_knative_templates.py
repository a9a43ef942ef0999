"""The templates for Knative's func, without func: what they hold, that they agree, and their own tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kaas.bundle import Bundle
from kaas.call import Call
from kaas.errors import ERRORS

REPOSITORY = Path(__file__).parents[2] / "runtime" / "knative" / "templates"
SAXPY = Path(__file__).parents[2] / "examples" / "saxpy"
TEMPLATES = ("kaas", "kaas-events")


def created(template: str, folder: Path) -> Path:
    """What `func create` makes of a template, but for `func.yaml`: it leaves out what is called manifest.yaml."""
    made = folder / "fn"
    shutil.copytree(
        REPOSITORY / "python" / template, made, ignore=shutil.ignore_patterns("manifest.yaml", "__pycache__")
    )
    return made


def in_function(folder: Path, *arguments: str, path: Path | None = None, fails: bool = False, **variables: str) -> str:
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
