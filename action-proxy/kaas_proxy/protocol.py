"""The bodies of `/init` and `/run`, decoded and checked (OpenWhisk's action interface)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kaas.errors import AuthorError, CallerError
from kaas_proxy.exchange import decode_json

#: OpenWhisk's own words: its tests and its users compare them.
NO_CODE = "Missing main/no code to execute."
NOT_INITIALIZED = "no action defined yet"
INITIALIZED_BEFORE = "Cannot initialize the action more than once."


class ProtocolError(Exception):
    """A breach of the protocol that OpenWhisk answers with a text in place of an error object."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class SecondInitError(ProtocolError):
    """An `/init` after one that succeeded: logged on both streams, and no end of an activation."""

    def __init__(self) -> None:
        super().__init__(403, INITIALIZED_BEFORE)


@dataclass(frozen=True)
class InitRequest:
    """Body of `/init`: the bundle's bytes and what is bound to the action with `init: true`."""

    name: str
    content: bytes
    environment: Mapping[str, str]

    @staticmethod
    def from_body(body: bytes) -> InitRequest:
        """Raises ProtocolError without code, `request_invalid`, or `bundle_invalid` for what is no base64."""
        value = _object(_decode(body)).get("value")
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise _invalid("value is not a JSON object", "value")
        code = value.get("code")
        if code is None or code == "":
            raise ProtocolError(403, NO_CODE)
        if not isinstance(code, str):
            raise _invalid("code is not a text", "value.code")
        binary = value.get("binary")
        if not isinstance(binary, bool | None):
            raise _invalid("binary is neither true nor false", "value.binary")
        name = value.get("name")
        return InitRequest(
            name=name if isinstance(name, str) else "",
            content=_decode_base64(code) if binary else code.encode(),
            environment=_texts(value.get("env") or {}, "value.env"),
        )


@dataclass(frozen=True)
class RunRequest:
    """Body of `/run`: the call and who makes it; `deadline_ms` is milliseconds since 1970."""

    arguments: Mapping[str, Any]
    activation_id: str | None
    api_key: str | None
    deadline_ms: int | None
    environment: dict[str, str]

    @staticmethod
    def from_body(body: bytes) -> RunRequest:
        """Raises `request_invalid`, or `argument_invalid` for the array that a sequence may pass on."""
        data = _object(_decode(body))
        value = data.pop("value", None)
        fields = {key: item for key, item in data.items() if isinstance(item, str)}
        activation_id = fields.get("activation_id") or None
        if isinstance(value, list):
            raise CallerError(
                "argument_invalid",
                "the action got an array; a kernel action takes its buffers and parameters by name",
                where="arguments",
                hint="in a sequence, let the action before return an object such as {'x': 's3://bucket/x.npy'}",
                activation=activation_id,
            )
        if value is not None and not isinstance(value, dict):
            raise _invalid("value is not a JSON object", "value", activation_id)
        deadline = fields.get("deadline", "")
        return RunRequest(
            arguments=value or {},
            activation_id=activation_id,
            api_key=fields.pop("api_key", None) or None,
            deadline_ms=int(deadline) if deadline.isascii() and deadline.isdigit() and len(deadline) < 19 else None,
            environment={f"__OW_{key.upper()}": item for key, item in fields.items()},
        )


def _decode(body: bytes) -> Any:
    try:
        return decode_json(body)
    except ValueError as error:
        raise CallerError("request_invalid", f"the body is not JSON: {error}") from None


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _invalid("the body is not a JSON object", None)
    return data


def _texts(data: Any, where: str) -> dict[str, str]:
    if not isinstance(data, dict):
        raise _invalid("env is not a JSON object", where)
    return {
        key: item if isinstance(item, str) else json.dumps(item, separators=(",", ":")) for key, item in data.items()
    }


def _decode_base64(code: str) -> bytes:
    try:
        return base64.b64decode(code, validate=True)
    except (binascii.Error, ValueError):
        raise AuthorError(
            "bundle_invalid",
            "code says that it is binary, but is not base64",
            where="value.code",
            hint="create the action from the .zip that `kaas build` writes, or from a plain kaas.yaml",
        ) from None


def _invalid(message: str, where: str | None, activation_id: str | None = None) -> CallerError:
    return CallerError("request_invalid", message, where=where, activation=activation_id)
