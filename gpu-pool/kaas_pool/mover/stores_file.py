"""`stores.json`: each tenant's endpoint and key pair (docs/contracts.md, "Files")."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from urllib.parse import urlsplit


class StoresFileError(Exception):
    """The file cannot be used; the message says why and names no secret."""


@dataclass(frozen=True)
class StoreRights:
    """What one tenant may use of an S3 endpoint; the secrets stay out of its repr."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    region: str = "us-east-1"
    ca_bundle: str | None = None

    @property
    def origin(self) -> str:
        """An opaque name of the endpoint, equal for all tenants that use it."""
        return hashlib.sha256(self.endpoint.encode()).hexdigest()[:16]


def read_stores_file(path: Path) -> Mapping[str, StoreRights]:
    """The tenants of a stores file; raises StoresFileError."""
    try:
        if path.stat().st_mode & 0o027:
            raise StoresFileError(f"{path} may be read by others or written by its group: chmod 600 {path}")
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise StoresFileError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise StoresFileError(f"{path} is not JSON in UTF-8") from error
    tenants = data.get("tenants") if isinstance(data, dict) else None
    if not isinstance(tenants, dict):
        raise StoresFileError(f'{path} is not an object with "tenants"')
    return {tenant: _rights(entry, path.parent, f"{path}: tenants.{tenant}") for tenant, entry in tenants.items()}


def _rights(entry: object, folder: Path, where: str) -> StoreRights:
    if not isinstance(entry, dict):
        raise StoresFileError(f"{where} is not an object")
    known = [known.name for known in fields(StoreRights)]
    if unknown := sorted(set(entry) - set(known)):
        raise StoresFileError(f"{where} has the unknown key {unknown[0]!r}; known: {', '.join(known)}")
    given = {name: value for name, value in entry.items() if value is not None}
    for name in known:
        if name in ("endpoint", "access_key", "secret_key") and not given.get(name):
            raise StoresFileError(f"{where} lacks {name!r}")
        if not isinstance(given.get(name, ""), str):
            raise StoresFileError(f"{where}.{name} is not a string")
    rights = StoreRights(**{**given, "endpoint": given["endpoint"].rstrip("/")})
    try:
        parts = urlsplit(rights.endpoint)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    else:
        usable = usable and not (parts.path or parts.query or parts.fragment or parts.username)
    if not usable:
        raise StoresFileError(f"{where}.endpoint is not http(s)://host[:port]")
    if rights.ca_bundle is None:
        return rights
    authority = folder / rights.ca_bundle
    if not authority.is_file():
        raise StoresFileError(f"{where}.ca_bundle: {authority} is not a file")
    return replace(rights, ca_bundle=str(authority))
