"""Compiled images on disk, found by the content of everything that went into them.

One file per image: a line of JSON, then the image. Files appear whole (written aside, then renamed) and carry their own
digest, so several processes may share a directory and a broken file is a miss.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaas.bundle import Bundle
from kaas.manifest import FILE_NAME
from kaas_pool.compiler.messages import CompiledSource, Target, Unit

_HEADER_BYTES = 8 << 20


class ImageCache:
    """The images in one directory, which is made when the first one is kept."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, key: str, unit: Unit) -> CompiledSource | None:
        """The image kept under `key`, None if there is none or it is damaged."""
        try:
            with self._path(key).open("rb") as file:
                header = json.loads(file.readline(_HEADER_BYTES))
                image = file.read()
        except (OSError, ValueError):
            return None
        if hashlib.sha256(image).hexdigest() != header.get("sha256"):
            return None
        return CompiledSource(unit, image, header["signatures"], header["log"], header["seconds"], cached=True)

    def keep(self, key: str, compiled: CompiledSource) -> None:
        """Keep an image; a full or read-only disk only costs the cache."""
        header = {
            "sha256": hashlib.sha256(compiled.image).hexdigest(),
            "signatures": compiled.signatures,
            "log": compiled.log,
            "seconds": compiled.seconds,
        }
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            aside, name = tempfile.mkstemp(prefix=".", dir=self._directory)
            try:
                with os.fdopen(aside, "wb") as file:
                    file.write(json.dumps(header, separators=(",", ":")).encode() + b"\n")
                    file.write(compiled.image)
                Path(name).rename(self._path(key))
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}.image"


def included_files(bundle: Bundle) -> dict[str, str]:
    """The SHA-256 of each file of a bundle that a source can include: all but the manifest."""
    return {path: hashlib.sha256(data).hexdigest() for path, data in bundle.files.items() if path != FILE_NAME}


def image_key(files: Mapping[str, str], unit: Unit, target: Target, toolchain: str) -> str:
    """64 hex digits over all that an image depends on.

    `files` maps each file that a source can include to the SHA-256 of its bytes; `toolchain` is the fingerprint of the
    compiler, its headers and our own code.
    """
    parts: list[Any] = [
        sorted(files.items()),
        [unit.source.path, unit.source.text, unit.source.first_line, unit.source.defines, unit.source.cubins],
        [unit.kernels, unit.source.compiled_only],
        [target.device, target.compute_capability],
        toolchain,
    ]
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()
