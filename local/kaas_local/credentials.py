"""The keys and tokens of the stack on this machine: made once, kept in the state directory."""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from kaas_local.seaweedfs import Identity
from kaas_local.state import StateDirectory

#: The namespace that every stack has.
GUEST = "guest"

#: Who reads the pool's status for `kaas status`, and who makes the store's buckets: no namespaces.
OPERATOR, ADMIN = "operator", "admin"

#: Where there are several namespaces all may read this bucket, and each may write below its own name.
SHARED_BUCKET = "shared"

REGION = "us-east-1"

_FILE = "credentials.json"

#: Narrower than OpenWhisk's: a namespace's name begins the names of its buckets.
_NAMESPACE = re.compile(r"(?=.{1,40}\Z)[a-z][a-z0-9]*(-[a-z0-9]+)*")


def is_namespace(name: str) -> bool:
    """Whether a namespace of this stack can be called so."""
    return _NAMESPACE.fullmatch(name) is not None and name not in (OPERATOR, ADMIN)


def buckets_of(namespace: str) -> tuple[str, str]:
    """The two buckets that are a namespace's alone."""
    prefix = "" if namespace == GUEST else f"{namespace}-"
    return f"{prefix}data", f"{prefix}out"


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
class Keys:
    """What a namespace has: a token for the pool, an S3 key, and a key of the OpenWhisk API (`uuid:key`)."""

    token: str = field(repr=False)
    store_key: KeyPair
    api_key: str = field(repr=False)

    @staticmethod
    def generate(namespace: str) -> Keys:
        """Keys nobody has had before."""
        return Keys(secrets.token_urlsafe(32), KeyPair.generate(namespace), _api_key())


@dataclass(frozen=True)
class Credentials:
    """The operator's token, which sees all, the store's administrator's key, and the keys of each namespace."""

    admin_token: str = field(repr=False)
    admin_key: KeyPair
    namespaces: Mapping[str, Keys]

    @staticmethod
    def load(state: StateDirectory) -> Credentials | None:
        """The credentials of this state directory, if it has any."""
        try:
            return _read(state.read_json(_FILE))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @staticmethod
    def ensure(state: StateDirectory, namespaces: Iterable[str] = ()) -> Credentials:
        """The credentials of this state directory; what it has not is made now, for `guest` and these namespaces."""
        known = Credentials.load(state) or Credentials(secrets.token_urlsafe(32), KeyPair.generate(ADMIN), {})
        found = {
            name: keys if keys.api_key else replace(keys, api_key=_api_key()) for name, keys in known.namespaces.items()
        }
        for name in (GUEST, *namespaces):
            if name not in found:
                found[name] = Keys.generate(name)
        if found != known.namespaces:
            known = replace(known, namespaces=found)
            state.write_json(_FILE, asdict(known))
        return known

    @property
    def buckets(self) -> tuple[str, ...]:
        """All buckets of the store."""
        own = tuple(bucket for name in self.namespaces for bucket in buckets_of(name))
        return (*own, SHARED_BUCKET) if len(self.namespaces) > 1 else own

    def identities(self) -> list[Identity]:
        """The store's identities: the administrator and the namespaces."""
        found = [
            Identity(name, keys.store_key.access_key, keys.store_key.secret_key, self._rights(name))
            for name, keys in self.namespaces.items()
        ]
        return [Identity(ADMIN, self.admin_key.access_key, self.admin_key.secret_key, ("Admin",)), *found]

    def _rights(self, namespace: str) -> tuple[str, ...]:
        own = [f"{action}:{bucket}" for bucket in buckets_of(namespace) for action in ("Read", "Write", "List")]
        if len(self.namespaces) > 1:
            own += [f"Read:{SHARED_BUCKET}", f"List:{SHARED_BUCKET}", f"Write:{SHARED_BUCKET}/{namespace}/*"]
        return tuple(own)

    def tokens(self) -> list[dict[str, object]]:
        """The pool's `tokens.json`."""
        found: list[dict[str, object]] = [
            {"sha256": _digest(keys.token), "tenant": name, "scopes": ["invoke", "read"]}
            for name, keys in self.namespaces.items()
        ]
        return [*found, {"sha256": _digest(self.admin_token), "tenant": OPERATOR, "scopes": ["read", "admin"]}]

    def api_keys(self) -> dict[str, str]:
        """The OpenWhisk API's `keys.json`."""
        return {name: _digest(keys.api_key) for name, keys in self.namespaces.items()}

    def stores(self, endpoint: str) -> dict[str, object]:
        """The mover's `stores.json`."""
        return {
            "tenants": {
                name: {"endpoint": endpoint, **asdict(keys.store_key), "region": REGION}
                for name, keys in self.namespaces.items()
            }
        }


def _read(data: dict[str, Any]) -> Credentials:
    """From the file's contents; raises KeyError or TypeError.

    A version that knew one namespace wrote its keys beside the operator's, an earlier one without the API's.
    """
    found = data.get("namespaces")
    if found is None:
        keys = {"token": data["token"], "store_key": data["tenant_key"], "api_key": data.get("api_key", "")}
        found = {GUEST: keys}
    namespaces = {name: Keys(**{**keys, "store_key": KeyPair(**keys["store_key"])}) for name, keys in found.items()}
    return Credentials(data["admin_token"], KeyPair(**data["admin_key"]), namespaces)


def _api_key() -> str:
    return f"{uuid.uuid4()}:{secrets.token_urlsafe(32)}"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
