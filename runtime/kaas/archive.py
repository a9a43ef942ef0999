"""Reading and writing the zip of a bundle.

It needs the standard library and `kaas.errors` alone, so that the sandboxed compiler can use it and start fast. The
limits are enforced on the bytes that come out, not on what the archive says about itself.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from kaas.errors import AuthorError

#: OpenWhisk's default limit on an action's code; it bounds the unpacked size too.
MAX_BYTES = 48 << 20
MAX_ENTRIES = 4096
MAX_NAME_BYTES = 255

#: Sources compress 5 to 10 times, and deflate's limit is 1,032. Only what unpacks to over a MiB is held to this.
MAX_RATIO = 200
_RATIO_FREE_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16

#: A central directory has 46 bytes and a name for each entry, and a little more from common tools.
_MAX_DIRECTORY_BYTES = MAX_ENTRIES * (46 + MAX_NAME_BYTES + 64)
_END_RECORD = b"PK\x05\x06"
_END_BYTES = 22
_ZIP64_LOCATOR = b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES = 20
_MAX_COMMENT_BYTES = 1 << 16

_MAGICS = (b"PK\x03\x04", _END_RECORD)
_DRIVE = re.compile(r"[A-Za-z]:")

#: The first moment a zip can express: every entry of a packed bundle has it.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def is_archive(data: bytes) -> bool:
    """Whether `data` begins as a zip does."""
    return data.startswith(_MAGICS)


def read_archive(data: bytes) -> dict[str, bytes]:
    """Unpack a zip into file contents by path; raises `bundle_invalid` or `bundle_too_large`."""
    if len(data) > MAX_BYTES:
        raise too_large(f"the zip has {len(data)} bytes")
    _check_directory(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read_entries(archive)
    # zipfile's NotImplementedError: versions and ways of compressing that it does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
        # It may quote a name of 64 KiB.
        raise AuthorError(
            "bundle_invalid", f"the zip is broken: {str(error)[:200]}", hint="zip the folder again"
        ) from None


def write_archive(files: Mapping[str, bytes]) -> bytes:
    """Pack files into a zip that is the same, byte for byte, wherever and whenever it is made.

    Entries are sorted, dated 1980 and stored uncompressed: what deflate makes differs between zlib's versions.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.create_system = 3  # Unix, whatever this machine is.
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, files[path])
    return packed.getvalue()


def read_directory(directory: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, bytes]:
    """The `wanted` files of a bundle's folder by path; hidden ones and `__pycache__` are left out.

    Raises `bundle_invalid` for links and special files, and `bundle_too_large`.
    """
    files: dict[str, bytes] = {}
    total = 0
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        if any(part.startswith(".") or part == "__pycache__" for part in relative.parts):
            continue
        name = relative.as_posix()
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode):
            raise _invalid(name, "is not a regular file", "a bundle holds plain files; copy what a link points to")
        if not wanted(name):
            continue
        _check_name(name)
        total += path.stat().st_size
        if total > MAX_BYTES or len(files) >= MAX_ENTRIES:
            raise too_large(f"the folder has more than {MAX_BYTES} bytes or {MAX_ENTRIES} files")
        files[name] = path.read_bytes()
    return files


def too_large(what: str) -> AuthorError:
    """The error for a bundle over the limit."""
    return AuthorError(
        "bundle_too_large",
        f"{what}; a bundle has at most {MAX_BYTES} bytes, packed and unpacked",
        hint="data belongs into the object store: declare the buffer io: in or const and give its reference",
    )


def _check_directory(data: bytes) -> None:
    """Refuse a central directory that would cost much memory before its entries can be counted."""
    end = len(data) - _END_BYTES
    if not (end >= 0 and data.startswith(_END_RECORD, end) and data.endswith(b"\x00\x00")):
        end = data.rfind(_END_RECORD, max(0, end - _MAX_COMMENT_BYTES))
    if end < 0:
        raise AuthorError("bundle_invalid", "the zip is cut short: it has no directory", hint="zip the folder again")
    if data.startswith(_ZIP64_LOCATOR, max(0, end - _ZIP64_LOCATOR_BYTES)):
        raise AuthorError(
            "bundle_invalid", "the zip is of the 64-bit kind", hint="zip the folder again; kaas build does it"
        )
    if int.from_bytes(data[end + 12 : end + 16], "little") > _MAX_DIRECTORY_BYTES:
        raise AuthorError("bundle_invalid", f"the zip has more than {MAX_ENTRIES} entries")


def _read_entries(archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise AuthorError("bundle_invalid", f"the zip has {len(entries)} entries; at most {MAX_ENTRIES} are read")
    files: dict[str, bytes] = {}
    folders: set[str] = set()
    total = 0
    for entry in entries:
        name = entry.orig_filename
        _check_entry(entry, name)
        if name.endswith("/"):
            folders.add(name.rstrip("/"))
            continue
        if name in files:
            raise _invalid(name, "stands twice in the zip")
        files[name] = _inflate(archive, entry, MAX_BYTES - total)
        total += len(files[name])
        parts = name.split("/")
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    for name in folders & files.keys():
        raise _invalid(name, "is both a file and a folder")
    return files


def _check_entry(entry: zipfile.ZipInfo, name: str) -> None:
    _check_name(name.rstrip("/") if name.endswith("/") else name)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "is a link" if kind == stat.S_IFLNK else "is a special file"
        raise _invalid(name, what, "a bundle holds plain files; zip -r follows links unless told otherwise")
    if entry.flag_bits & 0x1:
        raise _invalid(name, "is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _invalid(name, f"is compressed by method {entry.compress_type}", "use deflate, as zip does")


def _check_name(name: str) -> None:
    problem = None
    if name.startswith("/") or _DRIVE.match(name):
        problem = "is an absolute path"
    elif "\\" in name:
        problem = "has a backslash in its name"
    elif not name.isprintable():
        problem = "has a control character in its name"
    elif any(part in ("", ".", "..") for part in name.split("/")):
        problem = "leaves the bundle or is not a plain path"
    elif len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        problem = f"has a name of more than {MAX_NAME_BYTES} bytes"
    if problem:
        raise _invalid(name, problem, "paths in a bundle are relative to its root, with forward slashes")


def _inflate(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, room: int) -> bytes:
    """One entry's contents, given up as soon as they exceed `room` or explode."""
    packed = max(entry.compress_size, 1)
    content = bytearray()
    with archive.open(entry) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            content += chunk
            if len(content) > room:
                raise too_large("the zip's contents have more bytes")
            if len(content) > max(_RATIO_FREE_BYTES, MAX_RATIO * packed):
                raise _invalid(entry.filename, f"unpacks to more than {MAX_RATIO} times its size")
    return bytes(content)


def _invalid(name: str, problem: str, hint: str | None = None) -> AuthorError:
    return AuthorError("bundle_invalid", f"{name[:120]!r} {problem}", hint=hint)
