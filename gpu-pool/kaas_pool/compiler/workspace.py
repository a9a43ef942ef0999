"""The files of one compile: the bundle's, unpacked into a folder of their own, and the source that is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kaas.archive import is_archive, read_archive
from kaas.errors import PlatformError
from kaas_pool.compiler.messages import Request

_MANIFEST = "kaas.yaml"

#: Where a source that is written in the manifest is put; its messages carry the manifest's name and lines.
_INLINE = ".kaas-inline.cu"


@dataclass(frozen=True)
class Workspace:
    """`root` is the folder, `source` the file in it, `files` the author's files by the names that messages use."""

    root: Path
    source: Path
    files: dict[str, bytes]

    @property
    def includes(self) -> list[Path]:
        """Where `#include "x"` looks: beside the source, then from the bundle's root."""
        return list(dict.fromkeys((self.source.parent, self.root)))


def unpack(request: Request, bundle: bytes, work: Path) -> Workspace:
    """Write a bundle's files below `work`. The manifest stays out: no source has a reason to include it.

    Raises `bundle_invalid` or `bundle_too_large`.
    """
    root = work / "bundle"
    root.mkdir()
    files = read_archive(bundle) if is_archive(bundle) else {}
    files.pop(_MANIFEST, None)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if request.text is None:
        if request.source not in files:
            raise PlatformError("internal", f"the bundle has no file {request.source!r}")
        return Workspace(root, root / request.source, files)
    source = root / _INLINE
    source.write_text(f'#line {request.first_line} "{_MANIFEST}"\n{request.text}', "utf-8")
    return Workspace(root, source, {**files, _MANIFEST: request.text.encode()})
