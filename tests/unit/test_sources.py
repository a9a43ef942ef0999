"""What goes to a pool for the path that a command line names."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifest_cases import SAXPY

from kaas.archive import read_archive
from kaas.errors import AuthorError
from kaas_cli.output import Failure
from kaas_cli.sources import open_bundle, read_bundle, unbuilt

INLINE = SAXPY.replace("source: saxpy.cu", 'source: |\n      extern "C" __global__ void saxpy() {}')


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A kaas.yaml that is a whole action."""
    path = tmp_path / "kaas.yaml"
    path.write_text(INLINE)
    return path


def test_a_manifest_that_is_all_of_its_bundle_goes_as_it_is(manifest: Path) -> None:
    (manifest.parent / "x.npy").write_bytes(b"")
    assert read_bundle(manifest) == INLINE.encode()
    assert read_archive(read_bundle(manifest.parent)) == {"kaas.yaml": INLINE.encode()}


def test_what_a_source_could_include_goes_with_a_manifest(manifest: Path) -> None:
    (manifest.parent / "k.h").write_bytes(b"")
    assert read_bundle(manifest) == read_bundle(manifest.parent)
    assert read_archive(read_bundle(manifest)).keys() == {"kaas.yaml", "k.h"}


@pytest.mark.parametrize("named", ["source: saxpy.cu", "source: saxpy.cu\n    cubins: {sm_90: a.cubin}"])
def test_files_that_a_manifest_names_go_with_it(manifest: Path, named: str) -> None:
    manifest.write_text(SAXPY.replace("source: saxpy.cu", named))
    with pytest.raises(Failure) as caught:
        read_bundle(manifest)
    assert caught.value.where == f"{manifest}:12 graph[0].source"
    with pytest.raises(AuthorError, match=r"'saxpy\.cu' is not in the bundle"):
        read_bundle(manifest, is_located=False)
    (manifest.parent / "saxpy.cu").write_bytes(b"")
    (manifest.parent / "a.cubin").write_bytes(b"\x7fELF")
    assert read_bundle(manifest) == read_bundle(manifest.parent)


def test_a_folder_may_lack_what_is_made_of_it_and_a_zip_may_not(manifest: Path, tmp_path: Path) -> None:
    twice = SAXPY.replace("source: saxpy.cu", "source: saxpy.cu\n    cubins: {sm_90: a.cubin}")
    step = twice[twice.index("  - kernel") :]
    manifest.write_text(twice + step)
    (manifest.parent / "saxpy.cu").write_bytes(b"")
    with pytest.raises(Failure, match=r"'a\.cubin' is not in the bundle"):
        open_bundle(tmp_path)
    assert unbuilt(open_bundle(tmp_path, is_built=False)) == [
        ("sm_90", "a.cubin", "kaas.yaml:13 graph[0].cubins.sm_90")
    ]
    packed = tmp_path / "a.zip"
    packed.write_bytes(read_bundle(tmp_path, is_built=False))
    with pytest.raises(Failure, match=r"'a\.cubin' is not in the bundle"):
        open_bundle(packed, is_built=False)
