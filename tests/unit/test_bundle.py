"""Bundles: zips and texts, their digest, and what they must hold."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from manifest_cases import FULL, SAXPY
from safetensors.numpy import save

from kaas.archive import MAX_BYTES, write_archive
from kaas.bundle import YAML, ZIP, Bundle, named_files
from kaas.dtypes import DTYPES
from kaas.errors import AuthorError
from kaas.manifest import Manifest

KERNEL = b'extern "C" __global__ void saxpy() {}\n'
INLINE = SAXPY.replace("source: saxpy.cu", "source: |\n      __global__ void saxpy() {}")


def zipped(manifest: str = SAXPY, **files: bytes) -> bytes:
    return write_archive({"kaas.yaml": manifest.encode(), "saxpy.cu": KERNEL, **files})


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_a_zip() -> None:
    data = zipped()
    bundle = Bundle.open(data)
    assert bundle.manifest.name == "saxpy"
    assert bundle.files["saxpy.cu"] == KERNEL
    assert bundle.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert bundle.content_type == ZIP


def test_a_text() -> None:
    bundle = Bundle.open(INLINE.encode())
    assert bundle.files == {}
    assert bundle.content_type == YAML
    assert bundle.digest == f"sha256:{hashlib.sha256(INLINE.encode()).hexdigest()}"
    (source,) = bundle.manifest.kernels
    assert source.text == "__global__ void saxpy() {}\n"


def test_packing_a_folder(tmp_path: Path) -> None:
    (tmp_path / "kaas.yaml").write_text(SAXPY)
    (tmp_path / "saxpy.cu").write_bytes(KERNEL)
    (tmp_path / ".gitignore").write_text("*.npy")
    (tmp_path / "x.npy").write_bytes(bytes(1 << 20))
    (tmp_path / "generate.py").write_text("")
    data = Bundle.pack(tmp_path)
    assert data == zipped()
    assert dict(Bundle.open(data).files) == {"kaas.yaml": SAXPY.encode(), "saxpy.cu": KERNEL}
    (tmp_path / "saxpy.cu").unlink()
    with pytest.raises(AuthorError) as caught:
        Bundle.pack(tmp_path)
    assert caught.value.code == "source_missing"


@pytest.mark.parametrize(
    ("data", "code", "part", "hint"),
    [
        (b"", "manifest_invalid", "empty", None),
        (b"\x7fELF\x00\x01", "bundle_invalid", "neither a zip nor", "kaas build"),
        (b"\x1f\x8b\x08\x00rest", "bundle_invalid", "neither a zip nor", "gzip"),
        (b"#!/bin/sh\necho hello\n", "manifest_invalid", "must be a mapping", None),
        (b"# a\nimport numpy\ndef main(args):\n    return {'a': 1}\n", "bundle_invalid", "is Python code", "python:3"),
        (b'extern "C" __global__ void k(int n) {}\n', "bundle_invalid", "a CUDA source alone", "`kaas build DIR"),
        (b"exports.main = (a) => a\n", "bundle_invalid", "is JavaScript", "nodejs:20"),
        (SAXPY.encode(), "source_missing", "'saxpy.cu' is not", "`kaas build DIR -o action.zip`"),
        (b'{"kaas": 2, "graph": [{"source": "__global__\\n"}]}', "manifest_invalid", "version 2", None),
        (write_archive({"saxpy.cu": b""}), "manifest_missing", "no kaas.yaml at its root", "a zip of kaas.yaml"),
        (write_archive({"s/kaas.yaml": b""}), "manifest_missing", "no kaas.yaml", "or a zip of its contents"),
        (write_archive({"kaas.yml": b""}), "manifest_missing", "no kaas.yaml", "name it kaas.yaml"),
        (
            write_archive({"kaas.yaml": SAXPY.encode()}),
            "source_missing",
            "'saxpy.cu' is not",
            "the bundle has kaas.yaml",
        ),
        (
            write_archive({"kaas.yaml": SAXPY.encode(), "saxpi.cu": b""}),
            "source_missing",
            "'saxpy.cu' is not",
            "did you mean 'saxpi.cu'",
        ),
        (SAXPY.encode(), "source_missing", "'saxpy.cu' is not", "source: |"),
        (write_archive({"kaas.yaml": b"kaas: 2"}), "manifest_invalid", "version 2", None),
        (b"PK\x03\x04 no zip", "bundle_invalid", "cut short", "zip the folder again"),
    ],
)
def test_refusals(data: bytes, code: str, part: str, hint: str | None) -> None:
    with pytest.raises(AuthorError) as caught:
        Bundle.open(data)
    assert caught.value.code == code
    assert part in caught.value.message
    if hint is not None:
        assert hint in (caught.value.hint or "")


def test_the_place_of_a_missing_source() -> None:
    with pytest.raises(AuthorError) as caught:
        Bundle.open(SAXPY.encode())
    assert caught.value.where == "kaas.yaml:12 graph[0].source"


def test_over_the_limit() -> None:
    with pytest.raises(AuthorError) as caught:
        Bundle.open(bytes(MAX_BYTES + 1))
    assert caught.value.code == "bundle_too_large"


CONST = SAXPY.replace(
    "y: {io: in,  dtype: float32, shape: [n]}", "y: {io: const, dtype: float32, shape: [n], from: y.npy}"
)


def test_a_const_bound_to_a_file() -> None:
    content = npy(np.arange(5, dtype="f4"))
    bundle = Bundle.open(zipped(CONST, **{"y.npy": content}))
    assert dict(bundle.layouts) == {"y.npy": (DTYPES["float32"], (5,), 128, 20)}
    raw = Bundle.open(zipped(CONST.replace("y.npy", "y.bin"), **{"y.bin": bytes(20)}))
    assert dict(raw.layouts) == {"y.bin": (None, None, 0, 20)}


@pytest.mark.parametrize(
    ("files", "code", "part"),
    [
        ({}, "source_missing", "'y.npy' is not in the bundle"),
        ({"y.npy": b"no"}, "bundle_invalid", "y.npy is not an .npy file"),
        ({"y.npy": npy(np.zeros(5))}, "bundle_invalid", "y.npy holds float64, and y is declared as float32"),
        ({"y.npy": npy(np.zeros(5, ">f4"))}, "bundle_invalid", "big-endian"),
    ],
)
def test_a_const_whose_file_is_wrong(files: dict[str, bytes], code: str, part: str) -> None:
    with pytest.raises(AuthorError, match=part) as caught:
        Bundle.open(zipped(CONST, **files))
    assert caught.value.code == code
    assert caught.value.where == "kaas.yaml:8 buffers.y.from"


TENSOR = CONST.replace("from: y.npy", "from: y.safetensors#weight")


def test_a_const_bound_to_a_tensor_of_a_file(tmp_path: Path) -> None:
    content = save({"weight": np.arange(5, dtype="f4"), "other": np.zeros(2)})
    files = {"kaas.yaml": TENSOR.encode(), "saxpy.cu": KERNEL, "y.safetensors": content}
    for path, data in files.items():
        (tmp_path / path).write_bytes(data)
    bundle = Bundle.open(Bundle.pack(tmp_path))
    assert dict(bundle.files) == files
    (layout,) = bundle.layouts.values()
    assert list(bundle.layouts) == ["y.safetensors#weight"]
    assert (layout.dtype, layout.shape) == (DTYPES["float32"], (5,))
    assert np.array_equal(np.frombuffer(content, "f4", 5, layout.offset), np.arange(5, dtype="f4"))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"no", "y.safetensors#weight: an object of 2 bytes is no safetensors file"),
        (save({"weights": np.zeros(5, "f4")}), "the file has no tensor 'weight'"),
        (save({"weight": np.zeros(5)}), "y.safetensors#weight holds float64, and y is declared as float32"),
    ],
)
def test_a_tensor_that_is_wrong(content: bytes, part: str) -> None:
    with pytest.raises(AuthorError, match=part) as caught:
        Bundle.open(zipped(TENSOR, **{"y.safetensors": content}))
    assert (caught.value.code, caught.value.where) == ("bundle_invalid", "kaas.yaml:8 buffers.y.from")


EVERYTHING = {
    "kaas.yaml": FULL.encode(),
    "src/pairs.cu": b"",
    "src/gem.cu": b"",
    "bin/gem.sm_90.cubin": b"\x7fELF 90",
    "bin/gem.sm_100.cubin": b"\x7fELF 100",
    "bin/raw.cubin": b"\x7fELF 80",
}


def test_packing_takes_cubins(tmp_path: Path) -> None:
    for path, content in {**EVERYTHING, "bin/other.cubin": b"\x7fELF"}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    assert dict(Bundle.open(Bundle.pack(tmp_path)).files) == EVERYTHING


@pytest.mark.parametrize(
    ("path", "content", "code", "where", "part", "hint"),
    [
        ("bin/raw.cubin", None, "source_missing", "58 graph[6].cubins.sm_80", "'bin/raw.cubin' is not in", ".cubin"),
        ("bin/raw.cubin", b"", "bundle_invalid", "58 graph[6].cubins.sm_80", "does not begin as an ELF", "nvcc -cubin"),
        ("bin/gem.sm_100.cubin", b"//", "bundle_invalid", "51 graph[5].cubins.sm_100", "is no cubin", "--arch sm_100"),
        ("src/gem.cu", None, "source_missing", "50 graph[5].source", "'src/gem.cu' is not in the bundle", None),
    ],
)
def test_cubins_are_looked_at(
    path: str, content: bytes | None, code: str, where: str, part: str, hint: str | None
) -> None:
    files = {**EVERYTHING, path: content}
    with pytest.raises(AuthorError) as caught:
        Bundle.open(write_archive({name: data for name, data in files.items() if data is not None}))
    assert (caught.value.code, caught.value.where) == (code, f"kaas.yaml:{where}")
    assert part in caught.value.message
    if hint is not None:
        assert hint in (caught.value.hint or "")


def test_cubins_beside_a_source_may_come_later() -> None:
    def zip_without(path: str) -> bytes:
        return write_archive({name: data for name, data in EVERYTHING.items() if name != path})

    assert "bin/gem.sm_90.cubin" not in Bundle.open(zip_without("bin/gem.sm_90.cubin"), is_built=False).files
    for path, is_built in (("bin/gem.sm_90.cubin", True), ("bin/raw.cubin", False), ("src/gem.cu", False)):
        with pytest.raises(AuthorError, match=path):
            Bundle.open(zip_without(path), is_built=is_built)


def test_the_files_that_a_manifest_names() -> None:
    assert named_files(Manifest.parse(FULL)) == EVERYTHING.keys() - {"kaas.yaml"}


def test_a_text_has_no_cubins() -> None:
    with pytest.raises(AuthorError) as caught:
        Bundle.open(SAXPY.replace("source: saxpy.cu", "cubins: {sm_90: a.cubin}\n    writes: [x, y, z]").encode())
    assert caught.value.code == "source_missing"
    assert caught.value.where == "kaas.yaml:12 graph[0].cubins.sm_90"


def test_the_full_example_packs() -> None:
    bundle = Bundle.open(write_archive(EVERYTHING))
    assert len(bundle.manifest.kernels) == 4
    assert isinstance(bundle.manifest, Manifest)
