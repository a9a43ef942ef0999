"""A bundle: what an action is created from. A zip with `kaas.yaml` at its root, or the text of a `kaas.yaml` alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from kaas.archive import MAX_BYTES, is_archive, read_archive, read_directory, too_large, write_archive
from kaas.errors import AuthorError, CallerError
from kaas.formats import Layout, format_of, safetensors
from kaas.manifest import FILE_NAME, Manifest
from kaas.suggest import suggest

ZIP = "application/zip"
YAML = "application/yaml"

#: What every cubin begins with: it is an ELF file.
_ELF = b"\x7fELF"

#: What every manifest has, in YAML's block style or in its other one.
_MANIFEST = re.compile(r"(^|[{,])\s*['\"]?kaas['\"]?\s*:", re.MULTILINE)

#: What others' code has in it, what to call it, and what else may be meant.
_CODE = [
    (re.compile(r"__global__|^\s*#\s*include\b", re.MULTILINE), "a CUDA source alone", "`kaas new` makes a folder; "),
    (
        re.compile(r"^(def \w+\(|import \w|from [\w.]+ import |class \w+[(:])", re.MULTILINE),
        "Python code",
        "its kind is python:3; ",
    ),
    (
        re.compile(r"^\s*((async )?function\b|(module\.)?exports\b)", re.MULTILINE),
        "JavaScript",
        "its kind is nodejs:20; ",
    ),
]

#: What a CUDA source may include: files of these suffixes belong to a bundle though the manifest does not name them.
INCLUDABLE = frozenset({".cu", ".cuh", ".h", ".hh", ".hpp", ".hxx", ".inc", ".inl", ".c", ".cc", ".cpp"})


@dataclass(frozen=True, eq=False)
class Bundle:
    """An opened bundle.

    `files` maps each file's path to its bytes and is empty for a text. `digest` is `sha256:` and the hex digest of
    exactly the bytes opened. `layouts` tells by `Buffer.content` where the data lie that a const is bound to; the
    front needs only these and the manifest to bind a call.
    """

    manifest: Manifest
    files: Mapping[str, bytes]
    digest: str
    content_type: str
    layouts: Mapping[str, Layout]

    @staticmethod
    def open(data: bytes, *, is_built: bool = True) -> Bundle:
        """Open a zip or a manifest's text.

        Unless it `is_built`, cubins beside a source may have still to be made; no pool takes such a bundle.

        Raises AuthorError: `bundle_invalid`, `bundle_too_large`, `manifest_missing`, `source_missing`, the errors of
        Manifest.parse, and those of a format for a const's file.
        """
        if len(data) > MAX_BYTES:
            raise too_large(f"the bundle has {len(data)} bytes")
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if is_archive(data):
            files = read_archive(data)
            manifest = Manifest.parse(_manifest_of(files))
            content_type = ZIP
        else:
            files = {}
            text = _text_of(data)
            _refuse_code(text)
            manifest = Manifest.parse(text)
            content_type = YAML
        _check_sources(manifest, files, content_type, is_built)
        return Bundle(manifest, MappingProxyType(files), digest, content_type, _layouts(manifest, files))

    @staticmethod
    def read(directory: Path) -> tuple[Manifest, dict[str, bytes]]:
        """The manifest in a folder, and the files that belong to its bundle, as far as they are there.

        They are `kaas.yaml`, what that names, and every file that a source could include (`INCLUDABLE`), so that data
        lying beside them changes neither the bundle's size nor its digest.
        """
        path = directory / FILE_NAME
        if not path.is_file():
            _manifest_of(read_directory(directory))
        manifest = Manifest.parse(path.read_bytes())
        named = {FILE_NAME, *named_files(manifest)}
        return manifest, read_directory(
            directory, lambda name: name in named or PurePosixPath(name).suffix in INCLUDABLE
        )

    @staticmethod
    def pack(directory: Path, made: Mapping[str, bytes] | None = None, *, is_built: bool = True) -> bytes:
        """The reproducible zip of a folder, checked as `open` checks it.

        It holds the files of `read`, and those `made` for it, in place of what the folder may have at their paths.
        """
        _, files = Bundle.read(directory)
        data = write_archive({**files, **(made or {})})
        Bundle.open(data, is_built=is_built)
        return data


def named_files(manifest: Manifest) -> set[str]:
    """The paths of the files that a manifest needs beside itself."""
    named = {source.path for source in manifest.kernels if source.text is None and not source.compiled_only}
    named.update(path for source in manifest.kernels for _, path in source.cubins)
    named.update(buffer.file for buffer in manifest.buffers.values() if buffer.file is not None)
    return named


def _manifest_of(files: Mapping[str, bytes]) -> bytes:
    if FILE_NAME in files:
        return files[FILE_NAME]
    elsewhere = sorted(path for path in files if path.endswith(f"/{FILE_NAME}"))
    hint = f"a bundle is a zip of {FILE_NAME} and the sources it names"
    if elsewhere:
        hint = f"there is {elsewhere[0]}: a bundle is that folder, or a zip of its contents"
    elif "kaas.yml" in files:
        hint = f"there is kaas.yml: name it {FILE_NAME}"
    raise AuthorError("manifest_missing", f"the bundle has no {FILE_NAME} at its root", hint=hint)


def _text_of(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise AuthorError(
            "bundle_invalid",
            "the bundle is neither a zip nor the text of a kaas.yaml",
            hint="it is a gzip: make a .zip instead" if data[:2] == b"\x1f\x8b" else "zip the folder, or kaas build it",
        )
    return text


def _refuse_code(text: str) -> None:
    """Raise `bundle_invalid` for a file that is the code of something else, of which YAML's errors would say little."""
    if _MANIFEST.search(text):
        return
    for pattern, what, otherwise in _CODE:
        if pattern.search(text):
            raise AuthorError(
                "bundle_invalid",
                f"this is {what}; a kernel action is a {FILE_NAME} and the CUDA sources it names",
                hint=f"{otherwise}`kaas build DIR -o action.zip` makes the zip of a kernel action from its folder",
            )


def _check_sources(manifest: Manifest, files: Mapping[str, bytes], content_type: str, is_built: bool) -> None:
    for step in manifest.kernel_steps:
        source = step.source
        if source.text is None and not source.compiled_only and source.path not in files:
            raise _missing(source.path, step.place("source"), files, content_type)
        for architecture, path in source.cubins:
            where = step.place(f"cubins.{architecture}")
            if path not in files:
                if not is_built and not source.compiled_only:
                    continue
                raise _missing(path, where, files, content_type, None if source.compiled_only else architecture)
            if not files[path].startswith(_ELF):
                raise AuthorError(
                    "bundle_invalid",
                    f"{path!r} is no cubin: it does not begin as an ELF file does",
                    where=where,
                    hint=f"nvcc -cubin -arch={architecture} makes one"
                    + ("" if source.compiled_only else f", and kaas build --arch {architecture} from the source"),
                )
    for buffer in manifest.buffers.values():
        if buffer.file is not None and buffer.file not in files:
            raise _missing(buffer.file, buffer.from_where, files, content_type)


def _missing(
    path: str, where: str, files: Mapping[str, bytes], content_type: str, architecture: str | None = None
) -> AuthorError:
    if architecture is not None and content_type == ZIP:
        hint = f"kaas build --arch {architecture} makes it from the source and puts it into the zip"
    elif content_type == YAML:
        hint = (
            "a bundle that is only text has no files: `kaas build DIR -o action.zip` makes a zip of the folder, or "
            "write the source after 'source: |'"
        )
    else:
        hint = suggest(path, files) or f"the bundle has {', '.join(sorted(files)[:10])}"
    return AuthorError("source_missing", f"{path!r} is not in the bundle", where=where, hint=hint)


def _layouts(manifest: Manifest, files: Mapping[str, bytes]) -> Mapping[str, Layout]:
    layouts: dict[str, Layout] = {}
    for buffer in manifest.buffers.values():
        if buffer.file is None or buffer.content is None:
            continue
        content, where = files[buffer.file], buffer.from_where
        try:
            if buffer.tensor is not None:
                layout = safetensors.read_tensor(content, len(content), buffer.tensor, buffer.content, where).layout
            else:
                layout = format_of(buffer.file).read_layout(content, len(content), buffer.file, where)
        except CallerError as error:
            # The same defect in an object is the caller's; in a bundle it is the author's.
            raise AuthorError("bundle_invalid", error.message, where=where, hint=error.hint) from None
        if layout.dtype is not None and layout.dtype is not buffer.dtype:
            raise AuthorError(
                "bundle_invalid",
                f"{buffer.content} holds {layout.dtype.name}, and {buffer.name} is declared as {buffer.dtype.name}",
                where=where,
            )
        layouts[buffer.content] = layout
    return MappingProxyType(layouts)
