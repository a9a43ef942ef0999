"""The zip of a bundle: what is written reads back, and what would hurt is refused."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaas import archive
from kaas.archive import is_archive, read_archive, read_directory, write_archive
from kaas.errors import AuthorError

_PART = st.text(alphabet="abcXYZ019_-. é", min_size=1, max_size=8).filter(lambda part: part not in (".", ".."))
_PATH = st.lists(_PART, min_size=1, max_size=3).map("/".join)


def pack(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as packed:
        for entry, content in entries:
            packed.writestr(entry, content)
    return stream.getvalue()


def special(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = mode << 16
    return entry


@given(st.dictionaries(_PATH, st.binary(max_size=50), max_size=6))
def test_what_is_written_reads_back(files: dict[str, bytes]) -> None:
    folders = {path.rsplit("/", depth)[0] for path in files for depth in range(1, path.count("/") + 1)}
    data = write_archive(files)
    assert is_archive(data)
    if folders & files.keys():
        with pytest.raises(AuthorError, match="both a file and a folder"):
            read_archive(data)
        return
    assert read_archive(data) == files
    assert write_archive(dict(reversed(files.items()))) == data


def test_equal_files_give_equal_bytes_whatever_the_machine() -> None:
    # A digest once published must stay what it is: this pins the bytes.
    data = write_archive({"kaas.yaml": b"kaas: 1\n", "src/a.cu": b"x" * 1000})
    assert hashlib.sha256(data).hexdigest() == "768457189e7bca010f4475685e430cc056505d88db27246ae98ff1ec58212fef"
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        for entry in packed.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.compress_type == zipfile.ZIP_STORED
            assert entry.create_system == 3
            assert entry.external_attr >> 16 == 0o100644


def test_common_zips_are_read(tmp_path: Path) -> None:
    files = {"kaas.yaml": b"kaas: 1\n" * 500, "src/a.cu": b"a"}
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("src/", b"")
        packed.comment = b"a comment of the archive"
        for path in files:
            packed.write(tmp_path / path, path)
    assert read_archive(stream.getvalue()) == files


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        ("../evil", "not a plain path"),
        ("a/../../evil", "not a plain path"),
        ("a/./b", "not a plain path"),
        ("a//b", "not a plain path"),
        ("/etc/passwd", "absolute"),
        ("C:/x", "absolute"),
        ("a\\b", "backslash"),
        ("a\nb", "control character"),
        ("\u202egnp.exe", "control character"),
        ("x" * 256, "more than 255 bytes"),
        (special("link", stat.S_IFLNK | 0o777), "is a link"),
        (special("pipe", stat.S_IFIFO | 0o644), "is a special file"),
        (special("device", stat.S_IFCHR | 0o644), "is a special file"),
    ],
)
def test_entries_that_are_refused(entry: str | zipfile.ZipInfo, part: str) -> None:
    with pytest.raises(AuthorError, match=part) as caught:
        read_archive(pack(("kaas.yaml", b"x"), (entry, b"target")))
    assert caught.value.code == "bundle_invalid"


def test_a_name_with_a_hidden_end_is_refused() -> None:
    data = pack(("a.cuX.png", b"x")).replace(b"a.cuX.png", b"a.cu\0.png")
    with pytest.raises(AuthorError, match="control character"):
        read_archive(data)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicates_are_refused() -> None:
    with pytest.raises(AuthorError, match="stands twice"):
        read_archive(pack(("a", b"1"), ("a", b"2")))
    with pytest.raises(AuthorError, match="both a file and a folder"):
        read_archive(pack(("a/b", b"1"), ("a", b"2")))


def test_encryption_is_refused() -> None:
    data = bytearray(pack(("a", b"1")))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    with pytest.raises(AuthorError, match="encrypted"):
        read_archive(bytes(data))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_refused(method: int) -> None:
    with pytest.raises(AuthorError, match="is compressed by method"):
        read_archive(pack(("a", b"1" * 100), method=method))


def test_an_explosion_is_stopped_while_it_happens() -> None:
    with pytest.raises(AuthorError, match="200 times") as caught:
        read_archive(pack(("zeros", bytes(4 << 20))))
    assert caught.value.code == "bundle_invalid"


def test_what_unpacks_to_too_much_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 100_000)
    noise = os.urandom(60_000)
    assert read_archive(pack(("a", noise)))["a"] == noise
    with pytest.raises(AuthorError) as caught:
        read_archive(pack(("a", b"abc" * 30_000), ("b", b"abc" * 30_000)))
    assert caught.value.code == "bundle_too_large"
    with pytest.raises(AuthorError) as caught:
        read_archive(pack(("a", noise), ("b", noise)))
    assert caught.value.code == "bundle_too_large"


def test_sizes_that_lie_do_not_help() -> None:
    data = bytearray(pack(("zeros", bytes(4 << 20))))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.index(signature) + offset
        data[start : start + 4] = (10).to_bytes(4, "little")
    with pytest.raises(AuthorError) as caught:
        read_archive(bytes(data))
    assert caught.value.code == "bundle_invalid"


def test_too_many_entries() -> None:
    with pytest.raises(AuthorError, match="entries"):
        read_archive(pack(*[(str(number), b"") for number in range(4097)]))
    with pytest.raises(AuthorError, match="entries"):
        read_archive(pack(*[(str(number) * 40, b"") for number in range(10_000, 22_000)]))


@pytest.mark.parametrize("data", [b"PK\x03\x04", b"PK\x05\x06", b"PK\x03\x04" + bytes(100)])
def test_what_only_begins_as_a_zip(data: bytes) -> None:
    with pytest.raises(AuthorError, match=r"cut short|broken"):
        read_archive(data)


def test_a_cut_or_changed_zip_is_broken() -> None:
    data = pack(("kaas.yaml", os.urandom(2000)), method=zipfile.ZIP_STORED)
    changed = bytearray(data)
    changed[500] ^= 1
    for broken in (data[:-30], bytes(changed)):
        with pytest.raises(AuthorError, match=r"cut short|broken"):
            read_archive(broken)


@given(st.data())
def test_damage_never_escapes(data: st.DataObject) -> None:
    content = bytearray(pack(("kaas.yaml", b"kaas: 1\n" * 20), ("a/b.cu", b"x")))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_archive(bytes(content))
    except AuthorError as error:
        assert error.code in ("bundle_invalid", "bundle_too_large")


def test_what_is_wrong_with_a_zip_is_said_shortly() -> None:
    # The length of the name before the contents is a lie, and zipfile would show all that it then takes for the name.
    data = bytearray(pack(("kaas.yaml", bytes(60_000)), method=zipfile.ZIP_STORED))
    data[26:28] = (50_000).to_bytes(2, "little")
    with pytest.raises(AuthorError, match="broken") as caught:
        read_archive(bytes(data))
    assert len(caught.value.message) < 300


def test_a_folder(tmp_path: Path) -> None:
    for path in ("kaas.yaml", "src/a.cu", ".git/config", "src/.hidden", "__pycache__/x.pyc", "src/__pycache__/y.pyc"):
        (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / path).write_text(path)
    assert read_directory(tmp_path) == {"kaas.yaml": b"kaas.yaml", "src/a.cu": b"src/a.cu"}
    (tmp_path / "link.cu").symlink_to("src/a.cu")
    with pytest.raises(AuthorError, match=r"'link\.cu' is not a regular file") as caught:
        read_directory(tmp_path)
    assert caught.value.code == "bundle_invalid"


def test_a_folder_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 1000)
    (tmp_path / "data.bin").write_bytes(bytes(1001))
    with pytest.raises(AuthorError) as caught:
        read_directory(tmp_path)
    assert caught.value.code == "bundle_too_large"


def test_the_reader_starts_without_the_rest() -> None:
    """The compiler child unpacks bundles, and must not pay for YAML, HTTP or pydantic."""
    program = "import sys, kaas.archive; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"yaml", "pydantic", "urllib3", "numpy", "kaas.manifest"} & set(loaded)
