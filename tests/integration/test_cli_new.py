"""Every template of `kaas new` makes an action in which the checker finds nothing, and whose own test passes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kaas_command import clean_environment, kaas

from kaas.bundle import Bundle
from kaas_cli.main import main
from kaas_cli.output import CALLER, USAGE
from kaas_cli.template import NAMES, kernel_name, templates

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("template", NAMES)
def test_a_template_is_clean_and_passes_its_own_test(template: str, tmp_path: Path) -> None:
    folder = tmp_path / "my-action"
    made = kaas("new", folder, "--template", template)
    assert made.returncode == 0, made.stderr
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "kaas.yaml",
        "my_action.cu",
        "test_my_action.py",
    ]
    for path in folder.iterdir():
        assert "NAME" not in path.read_text()
        assert "KERNEL" not in path.read_text()
    checked = kaas("check", folder, "--strict", "--format", "json")
    assert checked.returncode == 0, checked.stdout
    report = json.loads(checked.stdout)
    assert report["findings"] == []
    assert report["compilers"][0] == "emulated"
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout


def test_the_list_says_what_each_does(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["template", *NAMES]
    assert all(one.description in text for one, text in zip(templates().values(), lines[1:], strict=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "status", "said", "hint"),
    [
        ([], USAGE, "new needs a name", "kaas new halve"),
        (["a", "--template", "stensil"], USAGE, "there is no template 'stensil'", "did you mean 'stencil'?"),
        (["a", "--template", "zzz"], USAGE, "there is no template 'zzz'", "there are elementwise, reduction"),
        (["a b"], USAGE, "'a b' cannot name an action", "letters, digits"),
        (["full"], CALLER, "full exists already, and is not empty", "choose another name, or empty it"),
        (["file"], CALLER, "file exists already, and is a file", "choose another name"),
    ],
)
def test_what_cannot_be_made(
    words: list[str],
    status: int,
    said: str,
    hint: str,
    capsys: Captured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    before = sorted(tmp_path.rglob("*"))
    assert main(["new", *words]) == status
    text = capsys.readouterr().err
    assert said in text
    assert hint in text
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["new", str(tmp_path / "empty")]) == 0
    assert (tmp_path / "empty" / "empty.cu").is_file()


@pytest.mark.parametrize(
    ("action", "kernel"),
    [
        ("halve", "halve"),
        ("half-it", "half_it"),
        ("7up", "k_7up"),
        ("a.b", "a_b"),
        ("float", "k_float"),
        ("exp", "k_exp"),
        ("expf", "k_expf"),
        ("float4", "k_float4"),
        ("main", "k_main"),
    ],
)
def test_kernels_are_named_after_the_action_where_cpp_lets_them(action: str, kernel: str, tmp_path: Path) -> None:
    assert kernel_name(action) == kernel
    assert main(["new", str(tmp_path / action)]) == 0
    manifest = Bundle.open(Bundle.pack(tmp_path / action)).manifest
    assert (manifest.name, manifest.kernel_steps[0].kernel) == (action, kernel)
