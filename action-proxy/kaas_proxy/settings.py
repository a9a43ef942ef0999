"""What the environment of a Knative Service says: which action it serves, and how."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kaas.archive import MAX_BYTES, too_large
from kaas.bundle import Bundle
from kaas.client import PoolClient, bearer
from kaas.dtypes import shorten
from kaas.errors import CallerError
from kaas.messages import DEFAULT_BUDGET_MS, MAX_BUDGET_MS, check_digest
from kaas.references import Reference, whole_reference
from kaas_proxy.bound import check_bound
from kaas_proxy.exchange import decode_json


@dataclass(frozen=True)
class Bundled:
    """An action that is in the image, or mounted into the container: its bundle, checked."""

    content: bytes
    bundle: Bundle

    @property
    def digest(self) -> str:
        """What it is known by."""
        return self.bundle.digest


@dataclass(frozen=True)
class Stored:
    """An action in the object store, which the pool fetches; `digest` is what it must be, or None."""

    reference: Reference
    digest: str | None


@dataclass(frozen=True)
class Known:
    """An action that this tenant has given to the pool already."""

    digest: str


@dataclass(frozen=True)
class Settings:
    """One Service. `arguments` are bound to every call; `watched` is the prefix that notifications come from.

    `budget_ms` bounds each call, `source` is that of the events it answers with.
    """

    pool_url: str
    token: str | None
    action: Bundled | Stored | Known
    arguments: Mapping[str, Any]
    watched: str | None
    budget_ms: int
    service: str | None

    @staticmethod
    def read(environment: Mapping[str, str]) -> Settings:
        """Read and check the variables, and open a bundle that is here. Raises CallerError with the variable's name."""
        pool_url = environment.get("KAAS_POOL_URL", "").strip()
        if not pool_url:
            raise CallerError(
                "argument_invalid",
                "nothing says where the pool is",
                where="KAAS_POOL_URL",
                hint="for example https://kaas.kaas.svc:7233",
            )
        action = _action(environment.get("KAAS_ACTION", ""), environment.get("KAAS_ACTION_DIGEST") or None)
        arguments = _arguments(environment.get("KAAS_ARGUMENTS") or "{}")
        watched = _watched(environment.get("KAAS_WATCHED") or None)
        if isinstance(action, Bundled):
            check_bound(action.bundle.manifest, arguments, watched)
        return Settings(
            pool_url,
            environment.get("KAAS_TOKEN") or None,
            action,
            arguments,
            watched,
            _budget(environment.get("KAAS_BUDGET_MS") or str(DEFAULT_BUDGET_MS)),
            environment.get("K_SERVICE") or None,
        )

    def connect(self, *, reconnect_s: float | None = None) -> PoolClient:
        """A client of the pool; raises `pool_unreachable` if its address is none."""
        authorization = bearer(self.token) if self.token is not None else None
        if reconnect_s is None:
            return PoolClient(self.pool_url, authorization)
        return PoolClient(self.pool_url, authorization, reconnect_s=reconnect_s)

    def source(self, action: str) -> str:
        """The source of this Service's events; `action` names it where the platform does not."""
        return f"/kaas/{quote(self.service or action, safe='')}"


def _action(text: str, digest: str | None) -> Bundled | Stored | Known:
    if digest is not None:
        check_digest(digest, "KAAS_ACTION_DIGEST")
    if not text.strip():
        raise CallerError(
            "argument_invalid",
            "nothing says which action is served",
            where="KAAS_ACTION",
            hint="the path of a bundle in the image (a zip, a kaas.yaml, a folder), s3://bucket/key, or sha256:...",
        )
    if text.startswith("sha256:"):
        _check_digest(check_digest(text, "KAAS_ACTION"), digest)
        return Known(text)
    if "://" in text:
        reference = whole_reference(text, "KAAS_ACTION")
        if reference.scheme != "s3":
            raise CallerError(
                "reference_invalid",
                f"{shorten(text)} would be a file of the pool's",
                where="KAAS_ACTION",
                hint="write a path in the container as it is, without file://",
            )
        return Stored(reference, digest)
    content = _content(Path(text))
    bundle = Bundle.open(content)
    _check_digest(bundle.digest, digest)
    return Bundled(content, bundle)


def _content(path: Path) -> bytes:
    try:
        if path.is_dir():
            return Bundle.pack(path)
        if not stat.S_ISREG(path.stat().st_mode):
            # To open a pipe could take for ever, and to read a device all memory.
            raise _unreadable(path, "it is no file")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise too_large(f"{path} has {size} bytes")
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None


def _unreadable(path: Path, why: str) -> CallerError:
    return CallerError(
        "argument_invalid",
        f"{str(path)!r} cannot be read: {why}",
        where="KAAS_ACTION",
        hint="the path of a bundle in the image (a zip, a kaas.yaml, a folder), s3://bucket/key, or sha256:...",
    )


def _check_digest(found: str, wanted: str | None) -> None:
    if wanted not in (None, found):
        raise CallerError(
            "argument_invalid",
            f"the action is {found}, and is to be {wanted}",
            where="KAAS_ACTION_DIGEST",
            hint="leave it out, or set it to the digest of the bundle that is meant",
        )


def _arguments(text: str) -> Mapping[str, Any]:
    try:
        value = decode_json(text.encode(errors="surrogateescape"))
    except ValueError as error:
        value = error
    if not isinstance(value, dict):
        reason = f": {value}" if isinstance(value, ValueError) else ""
        raise CallerError(
            "argument_invalid",
            f"{shorten(text)} is no JSON object{reason}",
            where="KAAS_ARGUMENTS",
            hint='for example {"a": 2, "outputs": "s3://results/saxpy"}',
        )
    return value


def _watched(text: str | None) -> str | None:
    if text is None:
        return None
    prefix = f"{text}/" if text.count("/") == 2 else text
    with suppress(CallerError):
        if Reference.parse(f"{prefix}object", "KAAS_WATCHED").scheme == "s3":
            return prefix
    raise CallerError(
        "reference_invalid",
        f"{shorten(text)} is no prefix that a bucket's notifications could be for",
        where="KAAS_WATCHED",
        hint="for example s3://uploads/ or s3://uploads/photos/",
    )


def _budget(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= value <= MAX_BUDGET_MS:
        raise CallerError(
            "argument_invalid",
            f"{shorten(text)} is no budget",
            where="KAAS_BUDGET_MS",
            hint=f"a whole number of milliseconds from 1 to {MAX_BUDGET_MS}, less than the Service's timeoutSeconds",
        )
    return value
