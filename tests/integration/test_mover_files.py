"""The mover with local files in S3's place."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mover_process import Front, MoverProcess, contents, error_code, fill

from kaas_pool.frames import Frame


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def mover(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MoverProcess]:
    with MoverProcess(tmp_path_factory.mktemp("mover"), {}, f"--allow-file-root={root}") as process:
        yield process


@pytest.fixture
def front(mover: MoverProcess) -> Iterator[Front]:
    with mover.front() as front:
        yield front


def load(front: Front, path: Path, offset: int = 0, size: int | None = None) -> bytes:
    found = front.stat("t", "", str(path), scheme="file")
    return contents(*front.answer(front.ask_load("t", "", str(path), found, offset, size, scheme="file")))


def store(front: Front, path: Path, data: bytes, if_match: str | None = None, activation: str = "act-1") -> Frame:
    segment, descriptor = front.alloc("t", len(data))
    fill(descriptor, data)
    identifier = front.ask_store("t", segment, len(data), "", str(path), b"head", if_match, activation, scheme="file")
    frame, _ = front.answer(identifier)
    return frame


def extended_attributes(root: Path) -> bool:
    try:
        os.setxattr(root, "user.probe", b"1")
    except OSError:
        return False
    return True


@pytest.mark.parametrize("size", [0, 1, 5000, 40 << 20])
def test_a_file_is_found_and_loaded(front: Front, root: Path, size: int) -> None:
    data = os.urandom(size)
    (root / "data").write_bytes(data)
    found = front.stat("t", "", f"{root}/data", scheme="file")
    assert (found["size"], base64.b64decode(found["head"])) == (size, data[:128])
    assert load(front, root / "data") == data
    assert load(front, root / "data", size // 2) == data[size // 2 :]


def test_a_file_is_written_whole_and_nothing_else(front: Front, root: Path) -> None:
    stored = store(front, root / "made" / "below" / "out", b"data")
    assert stored["type"] == "stored", stored
    assert (root / "made/below/out").read_bytes() == b"headdata"
    assert list((root / "made/below").iterdir()) == [root / "made/below/out"]
    found = front.stat("t", "", f"{root}/made/below/out", scheme="file")
    assert found["etag"] == stored["etag"]


def test_a_changed_file_is_not_loaded(front: Front, root: Path) -> None:
    path = root / "changing"
    path.write_bytes(b"before")
    found = front.stat("t", "", str(path), scheme="file")
    (root / "other").write_bytes(b"after!")
    (root / "other").rename(path)
    frame, _ = front.answer(front.ask_load("t", "", str(path), found, scheme="file"))
    assert error_code(frame) == "object_changed"


def test_a_range_outside_the_file(front: Front, root: Path) -> None:
    (root / "short").write_bytes(b"12345")
    found = front.stat("t", "", f"{root}/short", scheme="file")
    frame, _ = front.answer(front.ask_load("t", "", f"{root}/short", found, 3, 3, scheme="file"))
    assert error_code(frame) == "size_mismatch"


def test_in_place_wins_only_over_what_was_read(front: Front, root: Path) -> None:
    path = root / "in-place"
    path.write_bytes(b"read")
    etag = front.stat("t", "", str(path), scheme="file")["etag"]
    stored = store(front, path, b"new", etag)
    assert stored["type"] == "stored", stored
    assert error_code(store(front, path, b"other", etag, "act-2")) == "output_conflict"
    assert path.read_bytes() == b"headnew"
    assert not list(root.glob(".kaas-*"))
    if extended_attributes(root):
        assert store(front, path, b"new", etag)["etag"] == stored["etag"]


def test_what_is_not_under_the_root_is_forbidden(front: Front, root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "linked").symlink_to(tmp_path)
    for path in (
        f"{tmp_path}/secret",
        "/etc/passwd",
        f"{root}/../{tmp_path.name}/secret",
        str(root),
        f"{root}/link",
        f"{root}",
    ):
        assert error_code(front.stat("t", "", path, scheme="file")) == "object_forbidden", path
    # A link in the middle is no directory to us.
    assert error_code(front.stat("t", "", f"{root}/linked/secret", scheme="file")) == "object_not_found"
    assert error_code(store(front, root / "linked" / "written", b"x")) == "object_not_found"
    assert not (tmp_path / "written").exists()


def test_what_is_no_file_is_not_found(front: Front, root: Path) -> None:
    (root / "directory").mkdir()
    os.mkfifo(root / "fifo")
    for name in ("missing", "missing/below", "directory", "fifo"):
        assert error_code(front.stat("t", "", f"{root}/{name}", scheme="file")) == "object_not_found", name


def test_without_a_root_there_are_no_files(root: Path, tmp_path: Path) -> None:
    with MoverProcess(tmp_path, {}) as mover, mover.front() as front:
        assert error_code(front.stat("t", "", f"{root}/data", scheme="file")) == "store_not_configured"
        assert error_code(front.stat("t", "", "data", scheme="ftp")) == "reference_invalid"
