"""The keys and tokens of the stack on this machine: made once, kept in the state directory."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import asdict, dataclass, field, replace

from kaas_local.seaweedfs import Identity
from kaas_local.state import StateDirectory

#: The one tenant of a local stack.
TENANT = "guest"

#: Who reads the pool's status for `kaas status`.
OPERATOR = "operator"

#: What the tenant's key may read, write and list.
BUCKETS = ("data", "out")

REGION = "us-east-1"

_FILE = "credentials.json"


@dataclass(frozen=True)
class KeyPair:
    """An S3 key."""

    access_key: str
    secret_key: str = field(repr=False)

    @staticmethod
    def generate(name: str) -> KeyPair:
        """A key nobody has had before."""
        return KeyPair(f"{name}-{secrets.token_hex(8)}", secrets.token_urlsafe(30))


@dataclass(frozen=True)
class Credentials:
    """The tenant's token for the pool, its S3 key and its OpenWhisk key (`uuid:key`); the operator's token, which sees
    all, and its S3 key."""

    token: str = field(repr=False)
    admin_token: str = field(repr=False)
    tenant_key: KeyPair
    admin_key: KeyPair
    api_key: str = field(repr=False)

    @staticmethod
    def load(state: StateDirectory) -> Credentials | None:
        """The credentials of this state directory, if it has any."""
        try:
            data = state.read_json(_FILE)
            keys = (KeyPair(**data["tenant_key"]), KeyPair(**data["admin_key"]))
            return Credentials(data["token"], data["admin_token"], *keys, data.get("api_key", ""))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @staticmethod
    def ensure(state: StateDirectory) -> Credentials:
        """The credentials of this state directory, made now if it has none."""
        known = Credentials.load(state)
        if known is not None and known.api_key:
            return known
        if known is None:
            tokens = (secrets.token_urlsafe(32), secrets.token_urlsafe(32))
            known = Credentials(*tokens, KeyPair.generate(TENANT), KeyPair.generate("admin"), "")
        known = replace(known, api_key=f"{uuid.uuid4()}:{secrets.token_urlsafe(32)}")
        state.write_json(_FILE, asdict(known))
        return known

    def identities(self) -> list[Identity]:
        """The store's identities: the administrator and the tenant."""
        rights = tuple(f"{action}:{bucket}" for bucket in BUCKETS for action in ("Read", "Write", "List"))
        return [
            Identity("admin", self.admin_key.access_key, self.admin_key.secret_key, ("Admin",)),
            Identity(TENANT, self.tenant_key.access_key, self.tenant_key.secret_key, rights),
        ]

    def tokens(self) -> list[dict[str, object]]:
        """The pool's `tokens.json`."""
        return [
            {"sha256": _digest(self.token), "tenant": TENANT, "scopes": ["invoke", "read"]},
            {"sha256": _digest(self.admin_token), "tenant": OPERATOR, "scopes": ["read", "admin"]},
        ]

    def api_keys(self) -> dict[str, str]:
        """The OpenWhisk API's `keys.json`."""
        return {TENANT: _digest(self.api_key)}

    def stores(self, endpoint: str) -> dict[str, object]:
        """The mover's `stores.json`."""
        return {"tenants": {TENANT: {"endpoint": endpoint, **asdict(self.tenant_key), "region": REGION}}}


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
