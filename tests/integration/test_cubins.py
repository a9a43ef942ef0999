"""Cubins in real compiler children, and `kaas build --arch`; NVRTC makes them, no GPU is needed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from kaas_command import kaas

from kaas.archive import read_archive, write_archive
from kaas.bundle import Bundle
from kaas.errors import AuthorError
from kaas_cli.cubins import make_cubins
from kaas_pool.compiler import CompiledSource, Target, compile_bundle
from kaas_pool.compiler.cubin import read_cubin

pytestmark = pytest.mark.skipif(importlib.util.find_spec("cuda") is None, reason="the extra 'gpu' is not installed")

SOURCE = """\
extern "C" __global__ void scale(const float *x, float *z, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[i] = FACTOR * x[i];
}
template <typename T> __global__ void shift(const T *x, T *z) { z[0] = x[0] + T(1); }
"""

MANIFEST = """\
kaas: 1
name: test
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - kernel: scale
    source: k.cu
    cubins: {sm_80: k.sm_80.cubin, sm_90: k.sm_90.cubin}
    defines: {FACTOR: 2}
    threads: [n]
    block: [32]
    args: [x, z, int32(n)]
"""

COMPILED_ONLY = MANIFEST.replace("    source: k.cu\n", "").replace("    defines: {FACTOR: 2}\n", "") + (
    "    reads: [x]\n    writes: [z]\n"
)

EMULATED = Target("emulated")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An action with sources alone."""
    folder = tmp_path_factory.mktemp("cubins") / "action"
    folder.mkdir()
    (folder / "kaas.yaml").write_text(MANIFEST)
    (folder / "k.cu").write_text(SOURCE)
    return folder


@pytest.fixture(scope="module")
def cubins(folder: Path) -> dict[str, bytes]:
    """Its cubins by path."""
    return make_cubins(folder, ["sm_80", "sm_90"])


def bundle(cubins: dict[str, bytes], manifest: str = MANIFEST, source: str | None = SOURCE) -> Bundle:
    files = {"kaas.yaml": manifest.encode(), **cubins}
    if source is not None:
        files["k.cu"] = source.encode()
    return Bundle.open(write_archive(files))


def one(opened: Bundle, target: Target) -> CompiledSource:
    (compiled,) = compile_bundle(opened, target)
    return compiled


@pytest.mark.parametrize(
    ("device", "path"), [((8, 0), "k.sm_80.cubin"), ((8, 9), "k.sm_80.cubin"), ((9, 0), "k.sm_90.cubin")]
)
def test_a_device_takes_the_cubin_that_fits(cubins: dict[str, bytes], device: tuple[int, int], path: str) -> None:
    for opened in (bundle(cubins), bundle(cubins, COMPILED_ONLY, None)):
        compiled = one(opened, Target("cuda", device))
        assert compiled.image == cubins[path]
        assert compiled.signatures["scale"]["symbol"] == "scale"


def test_where_none_fits_the_source_is_compiled(cubins: dict[str, bytes]) -> None:
    compiled = one(bundle(cubins), Target("cuda", (7, 5)))
    assert read_cubin(compiled.image).architecture == 75
    assert one(bundle(cubins), EMULATED).image not in cubins.values()


def test_where_none_fits_and_there_is_no_source_it_is_refused(cubins: dict[str, bytes]) -> None:
    opened = bundle(cubins, COMPILED_ONLY, None)
    with pytest.raises(AuthorError, match="sm_80, sm_90; none of them runs on this device, which is sm_75") as caught:
        compile_bundle(opened, Target("cuda", (7, 5)))
    assert caught.value.code == "not_supported"
    assert "add source" in str(caught.value.hint)
    with pytest.raises(AuthorError, match="the emulated device runs sources only") as caught:
        compile_bundle(opened, EMULATED)
    assert (caught.value.code, caught.value.hint) == ("not_supported", "add source")
    assert caught.value.where == "kaas.yaml:7 graph[0].kernel"


def test_the_source_gives_the_signature_and_has_to_be_that_of_the_cubin(cubins: dict[str, bytes]) -> None:
    signature = one(bundle(cubins), Target("cuda", (9, 0))).signatures["scale"]
    assert [parameter["name"] for parameter in signature["parameters"]] == ["x", "z", "n"]
    later = SOURCE.replace("int n)", "int n, int m)")
    manifest = MANIFEST.replace("int32(n)]", "int32(n), int32(n)]")
    with pytest.raises(AuthorError, match="compiled from another source") as caught:
        compile_bundle(bundle(cubins, manifest, later), Target("cuda", (9, 0)))
    assert caught.value.code == "signature_mismatch"


def test_arguments_have_to_fit_a_cubin_without_a_source(cubins: dict[str, bytes]) -> None:
    opened = bundle(cubins, COMPILED_ONLY.replace("int32(n)]", "int64(n)]"), None)
    with pytest.raises(AuthorError, match="of 4 bytes does not take") as caught:
        compile_bundle(opened, Target("cuda", (9, 0)))
    assert caught.value.code == "signature_mismatch"


@pytest.mark.parametrize("target", [EMULATED, Target("cuda", (9, 0)), Target("cuda", (7, 5))], ids=str)
def test_a_broken_cubin_is_told_whatever_the_device(cubins: dict[str, bytes], target: Target) -> None:
    swapped = {"k.sm_80.cubin": cubins["k.sm_90.cubin"], "k.sm_90.cubin": cubins["k.sm_90.cubin"]}
    with pytest.raises(AuthorError, match=r"k.sm_80.cubin is compiled for sm_90") as caught:
        compile_bundle(bundle(swapped), target)
    assert caught.value.code == "bundle_invalid"
    cut = {**cubins, "k.sm_90.cubin": cubins["k.sm_90.cubin"][:500]}
    with pytest.raises(AuthorError, match=r"k.sm_90.cubin is no cubin"):
        compile_bundle(bundle(cut), target)


def test_another_cubin_is_another_image(cubins: dict[str, bytes], tmp_path: Path) -> None:
    first = compile_bundle(bundle(cubins), Target("cuda", (9, 0)), images=tmp_path)
    assert not first[0].cached
    again = compile_bundle(bundle(cubins), Target("cuda", (9, 0)), images=tmp_path)
    assert again[0].cached
    assert again[0].image == cubins["k.sm_90.cubin"]
    without = MANIFEST.replace("sm_80: k.sm_80.cubin, ", "")
    assert not compile_bundle(bundle(cubins, without), Target("cuda", (9, 0)), images=tmp_path)[0].cached


# kaas build --arch


def test_build_compiles_what_is_declared_and_packs_it(folder: Path, cubins: dict[str, bytes], tmp_path: Path) -> None:
    output = tmp_path / "a.zip"
    assert kaas("build", folder, "--arch", "sm_80", "--arch", "sm_90", "-o", output).returncode == 0
    files = read_archive(output.read_bytes())
    assert {name: data for name, data in files.items() if name.endswith(".cubin")} == cubins
    assert sorted(path.name for path in folder.iterdir()) == ["k.cu", "kaas.yaml"]
    assert one(Bundle.open(output.read_bytes()), Target("cuda", (9, 0))).image == cubins["k.sm_90.cubin"]


def test_build_says_what_is_missing(folder: Path, tmp_path: Path) -> None:
    done = kaas("build", folder, "-o", tmp_path / "a.zip")
    assert done.returncode == 1
    assert "kaas build --arch sm_80" in done.stderr
    done = kaas("build", folder, "--arch", "sm_90", "-o", tmp_path / "a.zip")
    assert done.returncode == 1
    assert "'k.sm_80.cubin' is not in the bundle" in done.stderr
    done = kaas("build", folder, "--arch", "sm_75", "-o", tmp_path / "a.zip")
    assert done.returncode == 1
    assert "cubins: {sm_75: kernels.sm_75.cubin}" in done.stderr
    done = kaas("build", folder, "--arch", "compute_75", "-o", tmp_path / "a.zip")
    assert done.returncode == 2
    assert "such as sm_90" in done.stderr
    assert not (tmp_path / "a.zip").exists()


def test_build_tells_compile_errors_on_the_authors_file(tmp_path: Path) -> None:
    action = tmp_path / "action"
    action.mkdir()
    (action / "kaas.yaml").write_text(MANIFEST)
    (action / "k.cu").write_text(SOURCE.replace("x[i];", "y[i];"))
    done = kaas("build", action, "--arch", "sm_90")
    assert done.returncode == 1
    assert f"where: {action}/k.cu:3" in done.stderr


def test_a_kernel_with_another_symbol_is_told(tmp_path: Path) -> None:
    manifest = MANIFEST.replace("kernel: scale", "kernel: shift").replace("[x, z, int32(n)]", "[x, z]")
    (tmp_path / "kaas.yaml").write_text(manifest)
    (tmp_path / "k.cu").write_text("namespace inner { __global__ void shift(const float *x, float *z) {} }")
    with pytest.raises(AuthorError, match="which is '_ZN5inner5shiftEPKfPf'") as caught:
        make_cubins(tmp_path, ["sm_90"])
    assert caught.value.code == "kernel_not_found"
    (tmp_path / "kaas.yaml").write_text(manifest.replace("kernel: shift", "kernel: _ZN5inner5shiftEPKfPf"))
    made = make_cubins(tmp_path, ["sm_90"])
    assert list(read_cubin(made["k.sm_90.cubin"]).kernels) == ["_ZN5inner5shiftEPKfPf"]


def test_two_compiles_cannot_go_to_one_path(tmp_path: Path) -> None:
    step = MANIFEST[MANIFEST.index("  - kernel") :]
    (tmp_path / "kaas.yaml").write_text(MANIFEST + step.replace("FACTOR: 2", "FACTOR: 3"))
    (tmp_path / "k.cu").write_text(SOURCE)
    with pytest.raises(AuthorError, match="two compiles would go to"):
        make_cubins(tmp_path, ["sm_90"])
