"""`kaas check` as a user runs it: everything at once, in three formats, with sizes, on whatever is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kaas_command import kaas

from kaas.errors import KaasError
from kaas_cli.main import main
from kaas_cli.output import CALLER, USAGE
from kaas_pool.compiler import nvrtc

EXAMPLES = Path(__file__).parents[2] / "examples"

Captured = pytest.CaptureFixture[str]


def has_nvrtc() -> bool:
    try:
        nvrtc.load()
    except KaasError:
        return False
    return True


MANIFEST = """\
kaas: 1
name: several
params:
  a: {type: float32, default: 1.0}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - {kernel: good, source: good.cu, threads: [n], block: [256], args: [a, x, z, int32(n)]}
  - {kernel: goood, source: good.cu, threads: [n], block: [256], args: [a, x, z, int32(n)]}
  - {kernel: good, source: good.cu, threads: [n], block: [256], args: [a, x, z, int64(n)]}
  - {kernel: good, source: good.cu, threads: [n], block: [256], args: [x, a, z, int32(n)]}
  - {kernel: bad, source: bad.cu, threads: [n], block: [256], args: [x, z, int32(n)]}
  - {kernel: other, source: other.cu, threads: [n], block: [256], args: [x, z, int32(n)]}
"""

GOOD = 'extern "C" __global__ void good(float a, const float *x, float *z, int n) { if (n > 0) z[0] = a * x[0]; }\n'
BAD = """\
extern "C" __global__ void bad(const float *x, float *z, int n) {
    z[0] = x[0] + missing;
    x[0] = 1.0f;
    int unused;
    also_missing(n);
}
"""
OTHER = '#include "none.h"\nextern "C" __global__ void other(const float *x, float *z, int n) {}\n'


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """An action with many errors in its steps and sources."""
    folder = tmp_path / "several"
    folder.mkdir()
    for name, text in {"kaas.yaml": MANIFEST, "good.cu": GOOD, "bad.cu": BAD, "other.cu": OTHER}.items():
        (folder / name).write_text(text)
    return folder


def report_of(folder: Path, capsys: Captured, *words: str, status: int = CALLER) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["check", str(folder), "--device", "emulated", "--format", "json", *words]) == status
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def places(document: dict[str, Any], folder: Path, severity: str = "error") -> list[tuple[str, str]]:
    return [
        (one["rule"], f"{Path(one['file']).relative_to(folder)}:{one['line']}")
        for one in document["findings"]
        if one["severity"] == severity
    ]


def test_every_source_and_every_step_is_told_at_once(several: Path, capsys: Captured) -> None:
    document = report_of(several, capsys)
    assert places(document, several) == [
        ("compile", "bad.cu:2"),
        ("compile", "bad.cu:3"),
        ("compile", "bad.cu:5"),
        ("kernel-not-found", "kaas.yaml:10"),
        ("signature-mismatch", "kaas.yaml:11"),
        ("signature-mismatch", "kaas.yaml:12"),
        ("signature-mismatch", "kaas.yaml:12"),
        ("compile", "other.cu:1"),
    ]
    assert document["errors"] == 8
    by_place = {f"{Path(one['file']).name}:{one['line']}": one for one in document["findings"]}
    assert "did you mean 'good'?" in by_place["kaas.yaml:10"]["fix"]
    assert by_place["kaas.yaml:10"]["path"] == "graph[1].kernel"
    assert "in this order they fit" in next(
        one["fix"] for one in document["findings"] if one["path"] == "graph[3].args[0]"
    )
    assert "missing" in by_place["bad.cu:2"]["what"]
    assert "the bundle's own files and CUDA's" in by_place["other.cu:1"]["fix"]


@pytest.mark.skipif(not has_nvrtc(), reason="NVRTC is not installed")
def test_cudas_compiler_warns_and_finds_what_the_emulated_device_lets_pass(several: Path, capsys: Captured) -> None:
    document = report_of(several, capsys, "--arch", "sm_80")
    assert document["compilers"] == ["emulated", "sm_80"]
    (warned,) = [one for one in document["findings"] if one["severity"] == "warning" and one["rule"] == "compile"]
    assert Path(warned["file"]).name == "bad.cu"
    assert warned["line"] == 4
    assert "was declared but never referenced" in warned["what"]

    (several / "kaas.yaml").write_text(MANIFEST[: MANIFEST.index("  - {kernel: goood")])
    (several / "good.cu").write_text(GOOD.replace("a * x[0]", "a * x[0] + UINT32_MAX"))
    document = report_of(several, capsys)
    (refused,) = document["findings"]
    assert "UINT32_MAX" in refused["what"]
    assert "CUDA's own compiler refuses it for sm_90, though the emulated device's takes it" in refused["why"]


def test_a_manifest_that_cannot_be_read_is_told_whole_and_its_steps_are_checked(
    several: Path, capsys: Captured
) -> None:
    text = MANIFEST.replace("default: 1.0", "defalt: 1.0").replace(
        "block: [256], args: [x, z", "blok: [256], args: [x, z"
    )
    (several / "kaas.yaml").write_text(text.replace("args: [a, x, z, int32(n)]}", "args: [a, x, zz, int32(n)]}", 1))
    document = report_of(several, capsys)
    told = places(document, several)
    # A mistyped key is read as what it was meant to be, so that its step is checked too.
    assert ("compile", "bad.cu:2") in told
    assert [place for rule, place in told if rule == "unknown-key"] == [f"kaas.yaml:{line}" for line in (4, 13, 14)]
    assert ("name-unknown", "kaas.yaml:9") in told
    assert ("kernel-not-found", "kaas.yaml:10") in told
    assert ("signature-mismatch", "kaas.yaml:11") in told
    # What a manifest that is not whole does with its data says nothing.
    assert {rule for rule, _ in places(document, several, "warning")} <= {"compile"}


def test_missing_sources_are_told_together(several: Path, capsys: Captured) -> None:
    (several / "bad.cu").unlink()
    (several / "other.cu").rename(several / "othr.cu")
    document = report_of(several, capsys)
    told = places(document, several)
    assert ("source-missing", "kaas.yaml:13") in told
    assert ("source-missing", "kaas.yaml:14") in told
    assert ("signature-mismatch", "kaas.yaml:11") in told
    (other,) = [one for one in document["findings"] if one["line"] == 14]
    assert other["fix"] == "did you mean 'othr.cu'?"


def test_only_what_fails_fails(several: Path, capsys: Captured) -> None:
    good = MANIFEST[: MANIFEST.index("  - {kernel: goood")]
    (several / "kaas.yaml").write_text(good)
    assert report_of(several, capsys, status=0)["findings"] == []
    (several / "kaas.yaml").write_text(good.replace("name: several", "name: several\nlet: {half: n // 2}"))
    document = report_of(several, capsys, status=0)
    assert [(one["severity"], one["rule"]) for one in document["findings"]] == [("warning", "unused-name")]
    report_of(several, capsys, "--strict", status=CALLER)
    (several / "kaas.yaml").write_text(good.replace("block: [256]", "block: [40]"))
    assert report_of(several, capsys, "--strict", status=0)["notes"] == 1


def test_the_text_has_one_line_a_finding(several: Path) -> None:
    checked = kaas("check", several)
    assert checked.returncode == 1
    *findings, last = checked.stdout.splitlines()
    assert all(line.startswith(f"{several}/") and line.endswith("]") for line in findings)
    assert findings[3].startswith(f"{several}/bad.cu:5: error: ") or findings[2].startswith(f"{several}/bad.cu:")
    assert last.startswith("several: 8 errors")
    # The place of an error is said once.
    assert not [line for line in findings if line.count("bad.cu") > 1]


def test_githubs_commands_are_escaped(several: Path, capsys: Captured) -> None:
    odd = several.rename(several.parent / "a,b:c%d")
    assert main(["check", str(odd), "--device", "emulated", "--format", "github"]) == CALLER
    lines = capsys.readouterr().out.splitlines()
    place = str(odd).replace("%", "%25").replace(",", "%2C").replace(":", "%3A")
    assert f"::error file={place}/kaas.yaml,line=10,title=kaas kernel-not-found::graph[1].kernel: " in "\n".join(lines)
    assert all(line.startswith("::") for line in lines[:-1])


@pytest.mark.parametrize("named", [".", "kaas.yaml", "../several", "sub/.."])
def test_an_action_by_any_name(named: str, several: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    (several / "sub").mkdir()
    monkeypatch.chdir(several)
    assert main(["check", named, "--device", "emulated"]) == CALLER
    line = next(line for line in capsys.readouterr().out.splitlines() if "goood" in line)
    file = line.partition(":")[0]
    assert Path(file).samefile(several / "kaas.yaml")


def test_from_inside_a_folder_of_the_action(several: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    (several / "sub").mkdir()
    monkeypatch.chdir(several / "sub")
    assert main(["check", "..", "--device", "emulated"]) == CALLER
    assert "../kaas.yaml:10: error: graph[1].kernel: " in capsys.readouterr().out


def test_a_manifests_text_and_zips(several: Path, tmp_path: Path, capsys: Captured) -> None:
    text = tmp_path / "alone.yaml"
    text.write_text("kaas: 1\nname: alone\ngraph:\n  - copy: {from: x, to: y}\n")
    (finding,) = report_of(text, capsys)["findings"]
    assert (finding["file"], finding["line"]) == (str(text), 4)
    assert main(["build", str(EXAMPLES / "saxpy"), "-o", str(tmp_path / "saxpy.zip")]) == 0
    assert report_of(tmp_path / "saxpy.zip", capsys, status=0)["errors"] == 0
    broken = tmp_path / "broken.zip"
    broken.write_bytes((tmp_path / "saxpy.zip").read_bytes()[:100])
    (finding,) = report_of(broken, capsys)["findings"]
    assert (finding["file"], finding["rule"]) == (str(broken), "bundle-invalid")


def test_a_source_inside_the_manifest(tmp_path: Path, capsys: Captured) -> None:
    text = tmp_path / "inline.yaml"
    text.write_text(
        MANIFEST[: MANIFEST.index("graph:")]
        + "graph:\n  - kernel: k\n    source: |\n      // k\n"
        + '      extern "C" __global__ void k(float *x, float *z, int n) {\n        z[n] = x[n] + oops;\n      }\n'
        + "    threads: [n]\n    block: [64]\n    args: [x, z, int32(n)]\n"
    )
    document = report_of(text, capsys)
    assert [(one["rule"], one["file"], one["line"]) for one in document["findings"] if one["rule"] == "compile"] == [
        ("compile", str(text), 13)
    ]
    text.write_text(text.read_text().replace(" + oops", ""))
    document = report_of(text, capsys, status=0)
    assert [(one["rule"], one["line"]) for one in document["findings"]] == [("unused-name", 4), ("could-be-const", 12)]


def test_sizes(capsys: Captured) -> None:
    document = report_of(EXAMPLES / "jacobi", capsys, "--set", "n=1000", "--set", "iters=7", status=0)
    matrix, vector = 4 * 1000 * 1000, 4000
    assert document["sizes"] == {"n": 1000, "iters": 7}
    assert document["estimate"] == {
        # a, b, x and x_new, each in whole pieces of 256 bytes.
        "peak_bytes": matrix + 3 * 4096,
        "loaded_bytes": matrix + vector,
        "bundled_bytes": 0,
        "stored_bytes": vector,
        "launches": 7,
        # Each round reads a, b and x. Of x_new, the kernel's text proves that it is written and not read.
        "moved_bytes": 7 * (matrix + 3 * vector),
    }
    assert main(["check", str(EXAMPLES / "jacobi"), "--device", "emulated", "--set", "n=1000"]) == 0
    text = capsys.readouterr().out
    assert "with n = 1000" in text
    assert "launches       100 " in text
    assert "sizes are not checked" not in text
    assert main(["check", str(EXAMPLES / "jacobi"), "--device", "emulated"]) == 0
    assert capsys.readouterr().out.endswith("\nsizes are not checked without --set n=...\n")


def test_what_sizes_make_wrong(several: Path, capsys: Captured) -> None:
    shutil.copytree(EXAMPLES / "blur", several, dirs_exist_ok=True)
    assert report_of(several, capsys, status=0)["estimate"] is None
    document = report_of(several, capsys, "--set", "width=32", "--set", "height=1000000", status=CALLER)
    assert [(one["rule"], one["path"]) for one in document["findings"]] == [
        ("launch-limits", "graph[0].threads"),
        ("launch-limits", "graph[1].threads"),
    ]
    assert document["estimate"]["launches"] == 2


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["m=4"], "jacobi has no symbol or parameter 'm'", "n, iters"),
        (["itres=4"], "jacobi has no symbol or parameter 'itres'", "did you mean 'iters'?"),
        (["x=4"], "x is a buffer", "its size follows from its shape, [n]"),
        (["iters=3"], "sizes need all names without a value of their own: n", "hint:  --set iters=3 --set n=...\n"),
        (["n=big"], "n is an extent: a whole number from 0 on, not 'big'", "--set n=1048576"),
        (["n=-1"], "n is an extent", "--set n=1048576"),
        (["n=1.5"], "n is an extent", "--set n=1048576"),
        (["n=3", "iters=1.5"], "iters is int32", ""),
        (["n=3", "n=4"], "--set n is given twice", ""),
    ],
)
def test_sizes_that_cannot_be(words: list[str], said: str, hint: str, capsys: Captured) -> None:
    options = [part for word in words for part in ("--set", word)]
    assert main(["check", str(EXAMPLES / "jacobi"), "--device", "emulated", *options]) == USAGE
    captured = capsys.readouterr()
    assert said in captured.err
    assert hint in captured.err
    assert captured.out == ""


def test_a_symbol_that_a_bundled_file_solves_need_not_be_given(tmp_path: Path, capsys: Captured) -> None:
    folder = tmp_path / "bound"
    folder.mkdir()
    text = MANIFEST[: MANIFEST.index("  - {kernel: goood")].replace("io: in,", "io: const, from: x.npy,")
    (folder / "kaas.yaml").write_text(text)
    (folder / "good.cu").write_text(GOOD)
    np.save(folder / "x.npy", np.zeros(100, np.float32))
    estimate = report_of(folder, capsys, "--set", "a=2", status=0)["estimate"]
    assert (estimate["loaded_bytes"], estimate["bundled_bytes"], estimate["stored_bytes"]) == (0, 400, 400)
    assert main(["check", str(folder), "--device", "emulated", "--set", "n=7"]) == USAGE
    assert "n is 100, by x.npy" in capsys.readouterr().err


@pytest.mark.skipif(not has_nvrtc(), reason="NVRTC is not installed")
def test_cubins(several: Path, tmp_path: Path, capsys: Captured) -> None:
    text = MANIFEST[: MANIFEST.index("  - {kernel: goood")]
    declared = text.replace("source: good.cu", "source: good.cu, cubins: {sm_90: good.cubin}")
    (several / "kaas.yaml").write_text(declared)
    (missing,) = report_of(several, capsys, status=0)["findings"]
    assert (missing["severity"], missing["rule"], missing["line"]) == ("note", "cubin-missing", 9)
    assert "kaas build --arch sm_90" in missing["fix"]
    assert main(["build", str(several), "--arch", "sm_90", "-o", str(tmp_path / "a.zip")]) == 0
    assert report_of(tmp_path / "a.zip", capsys, status=0)["findings"] == []
    # And without their source.
    shutil.unpack_archive(tmp_path / "a.zip", several)
    alone = declared.replace("source: good.cu, ", "reads: [x], writes: [z], ")
    (several / "kaas.yaml").write_text(alone)
    (untried,) = report_of(several, capsys, status=0)["findings"]
    assert (untried["severity"], untried["rule"]) == ("note", "untried")
    (several / "kaas.yaml").write_text(alone.replace("kernel: good", "kernel: god"))
    assert places(report_of(several, capsys), several) == [("kernel-not-found", "kaas.yaml:9")]
