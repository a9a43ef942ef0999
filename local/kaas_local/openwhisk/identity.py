"""Who may use the API: namespaces and their keys, known by digest."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kaas_local.openwhisk.refusal import NO_CREDENTIALS, WRONG_CREDENTIALS, Refusal


@dataclass(frozen=True)
class Identity:
    """The sender of a request: a namespace, and the key it came with, `uuid:key`."""

    namespace: str
    api_key: str = field(repr=False)


class Keys:
    """The namespaces' keys, as their file has them: `{"guest": "<sha256 of uuid:key, hex>"}`."""

    def __init__(self, digests: Mapping[str, str]) -> None:
        self._digests = dict(digests)

    @staticmethod
    def from_json(data: Any) -> Keys:
        """From the file's contents; raises ValueError."""
        if not isinstance(data, dict) or not all(isinstance(one, str) and len(one) == 64 for one in data.values()):
            raise ValueError("the keys are not an object of SHA-256 digests by namespace")
        return Keys(data)

    @staticmethod
    def digest(api_key: str) -> str:
        """What the file has in a key's place."""
        return hashlib.sha256(api_key.encode()).hexdigest()

    def identify(self, authorization: str | None) -> Identity:
        """Who sent this `Authorization`; raises Refusal."""
        if authorization is None:
            raise Refusal(401, NO_CREDENTIALS)
        scheme, _, encoded = authorization.partition(" ")
        try:
            api_key = base64.b64decode(encoded.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            api_key = ""
        if scheme.lower() == "basic":
            digest = self.digest(api_key)
            for namespace, expected in self._digests.items():
                if hmac.compare_digest(digest, expected):
                    return Identity(namespace, api_key)
        raise Refusal(401, WRONG_CREDENTIALS)
