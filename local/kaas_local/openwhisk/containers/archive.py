"""The files of an action that was created from a zip."""

from __future__ import annotations

import base64
import binascii
import io
import shutil
import zipfile
import zlib
from pathlib import Path

#: Of all files together: a container's disk would be as full.
_MAX_BYTES = 1 << 30


class ArchiveError(Exception):
    """The code is not base64 of a zip that can be used; the text says why."""


def unpack(code: str, directory: Path) -> None:
    """Write the files of a base64 zip; raises ArchiveError."""
    try:
        with zipfile.ZipFile(io.BytesIO(base64.b64decode(code, validate=True))) as archive:
            files = [entry for entry in archive.infolist() if not entry.is_dir()]
            if sum(entry.file_size for entry in files) > _MAX_BYTES:
                raise ArchiveError(f"its files are over {_MAX_BYTES} bytes")
            for entry in files:
                _write(archive, entry, directory)
    except (binascii.Error, ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ArchiveError(str(error)) from error
    except (OSError, RuntimeError) as error:  # A name that is both a file and a folder; an encrypted file.
        raise ArchiveError(str(error)) from error


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, directory: Path) -> None:
    path = directory / entry.filename
    if not path.resolve().is_relative_to(directory.resolve()):
        raise ArchiveError(f"'{entry.filename}' is outside of it")
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)
    if (entry.external_attr >> 16) & 0o100:
        path.chmod(0o755)
