"""The templates for Knative's func, without func: what they hold, that they agree, and their own tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kaas.bundle import Bundle
from kaas.errors import ERRORS

REPOSITORY = Path(__file__).parents[2] / "runtime" / "knative" / "templates"
TEMPLATES = ("kaas", "kaas-events")


def created(template: str, folder: Path) -> Path:
    """What `func create` makes of a template, but for `func.yaml`: it leaves out what is called manifest.yaml."""
    made = folder / "fn"
    shutil.copytree(
        REPOSITORY / "python" / template, made, ignore=shutil.ignore_patterns("manifest.yaml", "__pycache__")
    )
    return made


def in_function(folder: Path, *arguments: str) -> str:
    """Run Python in a function's folder; what it prints."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("KAAS_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-B", *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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


@pytest.mark.parametrize("path", ["function/pool.py", "function/kernel/kaas.yaml", "function/kernel/scale.cu"])
def test_the_templates_share_what_they_share_word_for_word(path: str) -> None:
    one, other = (REPOSITORY / "python" / template / path for template in TEMPLATES)
    assert one.read_bytes() == other.read_bytes()


def test_errors_have_the_statuses_of_the_table(tmp_path: Path) -> None:
    program = "import json, function.pool as pool; print(json.dumps(sorted(pool.OURS)))"
    folder = created("kaas", tmp_path)
    ours = json.loads(in_function(folder, "-c", program))
    assert set(ours) == {code for code, row in ERRORS.items() if row.blame == "platform"} - {
        "pool_busy",
        "action_unavailable",
    }
    codes = [*ours, "pool_busy", "id_conflict", "input_missing", "object_not_found", "budget_exceeded"]
    program = f"""if True:
        from function.pool import PoolError
        print(*(PoolError({{"code": code, "message": ""}}).status for code in {codes!r}))"""
    assert in_function(folder, "-c", program).split() == [str(ERRORS[code].knative) for code in codes]


def test_the_bundle_is_one(tmp_path: Path) -> None:
    folder = created("kaas", tmp_path)
    packed = tmp_path / "bundle.zip"
    program = """if True:
        import pathlib, sys
        from function.pool import Pool, bundle
        pathlib.Path(sys.argv[1]).write_bytes(bundle())
        print(Pool().digest)"""
    digest = in_function(folder, "-c", program, str(packed)).strip()
    bundle = Bundle.open(packed.read_bytes())
    assert (bundle.manifest.name, bundle.digest) == ("scale", digest)


@pytest.mark.parametrize("template", TEMPLATES)
def test_their_own_tests_pass(template: str, tmp_path: Path) -> None:
    said = in_function(created(template, tmp_path), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error")
    assert " passed" in said
