"""Bearer tokens: who calls, and with which scopes (docs/contracts.md, "Identity")."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from kaas.errors import CallerError

SCOPES = frozenset({"invoke", "read", "admin", "vouch"})

_SHA256 = re.compile(r"[0-9a-f]{64}")
#: What a tenant's name may be: a namespace of OpenWhisk or Kubernetes, and no surprise in a log line or a label.
_TENANT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_@ .:/&-]{0,254}")
_log = logging.getLogger(__name__)


def is_tenant(name: str) -> bool:
    """Whether a tenant can be called so."""
    return _TENANT.fullmatch(name) is not None


class TokensInvalid(Exception):
    """tokens.json cannot be used; the message says why."""


class Identity(NamedTuple):
    """The tenant a request acts for, and what it may do."""

    tenant: str
    scopes: frozenset[str]

    def require(self, scope: str) -> None:
        """Raise `scope_missing` unless the scope (or `admin`, for reading) is there."""
        if scope in self.scopes or (scope == "read" and "admin" in self.scopes):
            return
        have = ", ".join(sorted(self.scopes)) or "none"
        raise CallerError(
            "scope_missing",
            f"this request needs the scope '{scope}'; the token has: {have}",
            hint="use a token with that scope, or ask the pool's operator for one",
        )


class Tokens:
    """The tokens of one file, read again on demand."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identities = _read(path)

    def reload(self) -> None:
        """Read the file again; a broken one changes nothing and is logged."""
        try:
            self._identities = _read(self._path)
        except TokensInvalid as error:
            _log.error("tokens stay as they were: %s", error)
        else:
            _log.info("read %d tokens from %s", len(self._identities), self._path)

    def identify(self, authorization: str | None, on_behalf_of: str | None = None) -> Identity:
        """The identity behind an Authorization header and, if given, a KaaS-Tenant header.

        Raises `unauthenticated` and `scope_missing`.
        """
        if not authorization:
            raise CallerError(
                "unauthenticated",
                "the request has no Authorization header",
                hint="send 'Authorization: Bearer TOKEN' (kaas reads it from KAAS_TOKEN)",
            )
        kind, _, token = authorization.partition(" ")
        if kind.lower() == "basic":
            raise CallerError(
                "unauthenticated",
                "this pool does not take OpenWhisk's API keys",
                hint="send 'Bearer TOKEN', or start the pool with --controller and the URL of OpenWhisk's API",
            )
        if kind.lower() != "bearer":
            raise CallerError(
                "unauthenticated", f"the pool does not know Authorization {kind!r}", hint="send 'Bearer TOKEN'"
            )
        identity = self._identities.get(hashlib.sha256(token.strip().encode()).hexdigest())
        if identity is None:
            raise CallerError("unauthenticated", "the token is not known to this pool", hint="check KAAS_TOKEN")
        if on_behalf_of is None:
            return identity
        identity.require("vouch")
        if not is_tenant(on_behalf_of):
            raise CallerError("request_invalid", f"{on_behalf_of!r} is no tenant's name", where="header KaaS-Tenant")
        return Identity(on_behalf_of, identity.scopes)


def _read(path: Path) -> Mapping[str, Identity]:
    try:
        entries = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TokensInvalid(f"{path}: {error}") from error
    if not isinstance(entries, list):
        raise TokensInvalid(f"{path}: not a list")
    identities: dict[str, Identity] = {}
    for index, entry in enumerate(entries):
        where = f"{path}: entry {index}"
        if not isinstance(entry, dict) or set(entry) != {"sha256", "tenant", "scopes"}:
            raise TokensInvalid(f"{where}: needs exactly sha256, tenant and scopes")
        digest, tenant, scopes = entry["sha256"], entry["tenant"], entry["scopes"]
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest) or digest in identities:
            raise TokensInvalid(f"{where}: sha256 is not 64 lower-case hex digits, each token once")
        if not isinstance(tenant, str) or not is_tenant(tenant):
            raise TokensInvalid(f"{where}: {tenant!r} is no tenant's name")
        if not isinstance(scopes, list) or not SCOPES.issuperset(scopes):
            raise TokensInvalid(f"{where}: scopes are {', '.join(sorted(SCOPES))}")
        identities[digest] = Identity(tenant, frozenset(scopes))
    # The group may read it: on Kubernetes that is how a user who is not root reads a Secret.
    if path.stat().st_mode & 0o027:
        _log.warning("%s can be read by others or written by its group; make it 0600", path)
    return identities
