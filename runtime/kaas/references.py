"""References to objects, and the values of a call that may stand in their place.

    s3://bucket/key                    the object's newest version
    s3://bucket/key?versionId=ID       one version
    s3://bucket/key?offset=N&size=M    M bytes from byte N on (size may be left out: to the end), read as raw data
    s3://bucket/x.safetensors#tensor   one tensor of a safetensors file; a ?versionId=ID stands before the #
    file:///absolute/path              a file, where a local-file store is configured

Keys are taken literally: nothing is percent-decoded, and a key cannot contain `?`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from kaas.dtypes import NON_FINITE, shorten
from kaas.errors import CallerError
from kaas.suggest import advise

#: Largest inline value and inline output, in bytes of data.
MAX_INLINE_BYTES = 64 * 1024

#: All inline outputs of one call together: OpenWhisk's limit on a result.
MAX_RESULT_BYTES = 1 << 20

#: S3's own limit on a key, in bytes of UTF-8.
MAX_KEY_BYTES = 1024

Scheme = Literal["s3", "file"]

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_VERSION = re.compile(r"[\x21-\x7e]{1,1024}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_TENSOR = re.compile(r"\.safetensors#", re.IGNORECASE)
_OPTIONS = ("offset", "size", "versionId")
_FORM = "a reference is s3://bucket/key, for example s3://data/x.npy"


@dataclass(frozen=True)
class Reference:
    """One object, or a byte range of it. For `file`, `bucket` is empty and `key` the absolute path.

    `offset` and `size` are None where the reference names the whole object; a range without `size` goes to the end.
    `tensor` is the one meant of a safetensors file, None for all other objects.
    """

    scheme: Scheme
    bucket: str
    key: str
    version: str | None = None
    offset: int | None = None
    size: int | None = None
    tensor: str | None = None

    @staticmethod
    def parse(text: str, where: str) -> Reference:
        """Read a reference; raises `reference_invalid`."""
        scheme, colon, rest = text.partition("://")
        if not colon or scheme not in ("s3", "file"):
            raise CallerError("reference_invalid", f"{shorten(text)} is not a reference", where=where, hint=_hint(text))
        rest, tensor = split_tensor(rest)
        path, question, query = rest.partition("?")
        bucket, slash, key = path.partition("/")
        if scheme == "s3":
            if not _BUCKET.fullmatch(bucket):
                raise CallerError(
                    "reference_invalid",
                    f"{shorten(bucket)} in {shorten(text)} is not a bucket name",
                    where=where,
                    hint=_FORM,
                )
        else:
            if bucket:
                raise CallerError(
                    "reference_invalid",
                    f"{shorten(text)} names a host",
                    where=where,
                    hint="a file reference has three slashes and an absolute path: file:///data/x.npy",
                )
            key = slash + key
        _check_key(key, text, where)
        reference = Reference("s3" if scheme == "s3" else "file", bucket, key, tensor=tensor)
        if question:
            reference = _with_options(reference, query, text, where)
        if tensor is not None:
            _check_tensor(reference, tensor, text, where)
        return reference

    @property
    def object_id(self) -> str:
        """The reference of the whole object, version included: what one `stat` answers for."""
        base = f"s3://{self.bucket}/{self.key}" if self.scheme == "s3" else f"file://{self.key}"
        return f"{base}?versionId={self.version}" if self.version is not None else base

    @property
    def is_range(self) -> bool:
        """Whether only a part of the object is meant."""
        return self.offset is not None or self.tensor is not None

    def whole(self) -> Reference:
        """The object that the range or tensor is part of."""
        return replace(self, offset=None, size=None, tensor=None) if self.is_range else self

    def __str__(self) -> str:
        text = self.object_id
        for name, value in (("offset", self.offset), ("size", self.size)):
            if value is not None:
                text += f"{'&' if '?' in text else '?'}{name}={value}"
        return text if self.tensor is None else f"{text}#{self.tensor}"


@dataclass(frozen=True)
class InlineValue:
    """A value given in the call itself: a number, a list, or `{"base64": ...}`, not yet decoded."""

    value: Any


def parse_input(value: object, where: str) -> Reference | InlineValue:
    """What an input's argument stands for; raises `reference_invalid` or `argument_invalid`."""
    if isinstance(value, str):
        return InlineValue(value) if value.lower() in NON_FINITE else input_reference(value, where)
    if isinstance(value, dict) and "base64" not in value:
        raise CallerError(
            "argument_invalid",
            f"{shorten(value)} is no input",
            where=where,
            hint='an input is a reference, a number, a list, or {"base64": "..."}',
        )
    if value is None:
        raise CallerError("argument_invalid", "null is no input", where=where, hint=_FORM)
    return InlineValue(value)


def input_reference(text: str, where: str) -> Reference:
    """A reference that can be read: of a safetensors file, one tensor or a byte range; raises `reference_invalid`."""
    reference = Reference.parse(text, where)
    if not reference.is_range and _is_safetensors(reference.key):
        raise CallerError(
            "reference_invalid",
            f"{shorten(text)} holds many tensors",
            where=where,
            hint=f"name the one that is meant: {shorten(text)[1:-1]}#weight",
        )
    return reference


def output_reference(text: str, where: str) -> Reference:
    """A reference that can be written: a whole new object of a format with one array; raises `reference_invalid`."""
    target = Reference.parse(text, where)
    if target.tensor is not None or (target.offset is None and _is_safetensors(target.key)):
        raise CallerError(
            "reference_invalid",
            f"{shorten(text)}: safetensors files are read only",
            where=where,
            hint="give the output the ending .npy, or another one for raw data",
        )
    if target.key.lower().endswith(".npz"):
        raise CallerError(
            "reference_invalid",
            f"{shorten(text)}: an output is one array, and .npz an archive of them",
            where=where,
            hint="give it the ending .npy",
        )
    if target.is_range or target.version is not None:
        raise CallerError(
            "reference_invalid",
            f"{shorten(text)}: an output is a whole new object, without a range or a version",
            where=where,
        )
    return target


def whole_reference(text: str, where: str) -> Reference:
    """A reference of a whole object, whatever its format; raises `reference_invalid`."""
    reference = Reference.parse(text, where)
    if reference.is_range:
        raise CallerError(
            "reference_invalid", f"{shorten(text)} names a part of an object, and the whole is meant", where=where
        )
    return reference


def split_tensor(text: str) -> tuple[str, str | None]:
    """The name of a safetensors file, options included, and of its tensor after `#`; other texts are left whole."""
    path, question, _ = text.partition("?")
    found = _TENSOR.search(path)
    at = found.end() - 1 if found else text.find("#", len(path)) if question and _is_safetensors(path) else -1
    return (text[:at], text[at + 1 :]) if at >= 0 else (text, None)


def _is_safetensors(key: str) -> bool:
    return key.lower().endswith(".safetensors")


def _check_tensor(reference: Reference, tensor: str, text: str, where: str) -> None:
    problem = None
    if not tensor:
        problem = "names no tensor after the #"
    elif _CONTROL.search(tensor):
        problem = "has a control character in its tensor's name"
    elif len(tensor.encode()) > MAX_KEY_BYTES:
        problem = f"has a tensor's name of more than {MAX_KEY_BYTES} bytes"
    elif reference.offset is not None:
        problem = "has a range and a tensor, which is a range itself"
    if problem:
        raise CallerError(
            "reference_invalid",
            f"{shorten(text)} {problem}",
            where=where,
            hint="a tensor is written s3://bucket/x.safetensors#weight",
        )


def _check_key(key: str, text: str, where: str) -> None:
    problem = None
    if not key.strip("/"):
        problem = "has no key"
    elif key.endswith("/"):
        problem = "ends in a slash: it names a folder, not an object"
    elif _CONTROL.search(key):
        problem = "has a control character in its key"
    elif len(key.encode()) > MAX_KEY_BYTES:
        problem = f"has a key of more than {MAX_KEY_BYTES} bytes"
    elif "." in key and any(part in (".", "..") for part in key.split("/")):
        problem = "has a part '.' or '..' in its key"
    if problem:
        raise CallerError("reference_invalid", f"{shorten(text)} {problem}", where=where, hint=_FORM)


def _with_options(reference: Reference, query: str, text: str, where: str) -> Reference:
    found: dict[str, str] = {}
    for item in query.split("&"):
        name, equals, value = item.partition("=")
        if name not in _OPTIONS or not equals:
            raise CallerError(
                "reference_invalid",
                f"{shorten(item)} in {shorten(text)} is no option of a reference",
                where=where,
                hint=advise(name, _OPTIONS, "options"),
            )
        if name in found:
            raise CallerError("reference_invalid", f"{name} stands twice in {shorten(text)}", where=where)
        found[name] = value
    version = found.get("versionId")
    if version is not None and (reference.scheme == "file" or not _VERSION.fullmatch(version)):
        raise CallerError("reference_invalid", f"{shorten(version)} in {shorten(text)} is no version id", where=where)
    offset = _bytes(found, "offset", text, where)
    size = _bytes(found, "size", text, where)
    if size is not None and offset is None:
        offset = 0
    return replace(reference, version=version, offset=offset, size=size)


def _bytes(found: dict[str, str], name: str, text: str, where: str) -> int | None:
    value = found.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise CallerError(
            "reference_invalid",
            f"{name}={shorten(value)} in {shorten(text)} is no number of bytes",
            where=where,
        )
    return int(value)


def _hint(text: str) -> str:
    scheme = text.partition(":")[0]
    if scheme in ("http", "https"):
        return f"objects are named by bucket and key, not by URL: {_FORM}"
    if scheme in ("s3a", "s3n", "gs", "minio"):
        return f"write s3:// whatever the store: {_FORM}"
    if text.lstrip().startswith(("[", "{")):
        return "it looks like JSON, and is none: are all brackets and quotes closed?"
    if text.startswith("@"):
        return "only the kaas command reads local files (@file); upload it first: kaas cp FILE s3://bucket/key"
    return _FORM
