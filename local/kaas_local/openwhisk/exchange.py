"""One request and its answer: who asks, by which transaction, with which queries and body."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

from starlette.requests import Request
from starlette.responses import Response

from kaas_local.openwhisk.identity import Identity
from kaas_local.openwhisk.limits import DEFAULT_LIST, MAX_BODY_BYTES, MAX_LIST
from kaas_local.openwhisk.names import Name, check_namespace, check_segment
from kaas_local.openwhisk.parameters import compact
from kaas_local.openwhisk.refusal import Refusal, forbidden, malformed, too_large

#: Of a body over the limit, so much is read and thrown away, so that the sender lives to read the answer.
_DISCARDED_BYTES = 4 * MAX_BODY_BYTES

_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True)
class Exchange:
    """A request whose sender is known."""

    request: Request
    identity: Identity
    transaction_id: str
    #: When the request came, in milliseconds since 1970.
    came_ms: int

    @property
    def namespace(self) -> str:
        """The namespace in the path, which has to be the sender's own; raises Refusal."""
        namespace = self.any_namespace
        if namespace != self.identity.namespace:
            rest = [self.request.path_params.get(part) for part in ("package", "name")]
            raise forbidden("/".join([namespace, *(part for part in rest if part)]))
        return namespace

    @property
    def any_namespace(self) -> str:
        """The namespace in the path, whoever's it is; raises Refusal."""
        return check_namespace(self.request.path_params["namespace"], self.identity.namespace)

    @property
    def name(self) -> Name:
        """The entity in the path, which has to be the sender's own; raises Refusal."""
        return self._name(self.namespace)

    @property
    def any_name(self) -> Name:
        """The entity in the path, whoever's it is; raises Refusal."""
        return self._name(self.any_namespace)

    def _name(self, namespace: str) -> Name:
        parts = self.request.path_params
        package = check_segment(parts["package"]) if "package" in parts else None
        return Name(namespace, package, check_segment(parts["name"]))

    def flag(self, name: str, default: bool = False) -> bool:
        """A query that is yes or no; raises Refusal."""
        value = self.request.query_params.get(name)
        if value is None:
            return default
        if value.lower() in (*_YES, *_NO):
            return value.lower() in _YES
        raise _bad_query(name, f"'{value}' is not a valid Boolean value")

    def number(self, name: str, reason: str) -> int | None:
        """A query that is a number of milliseconds; `reason` is why another is refused. Raises Refusal."""
        value = self.request.query_params.get(name)
        if value is None:
            return None
        if not value.isascii() or not value.isdigit() or len(value) > 15:
            raise _bad_query(name, f"{reason}: {value}" if reason.startswith("Parameter") else reason)
        return int(value)

    def page(self, collection: str) -> tuple[int, int]:
        """`skip` and `limit`, of which 0 means the most; raises Refusal."""
        found = {}
        for name, default in (("skip", 0), ("limit", DEFAULT_LIST)):
            text = self.request.query_params.get(name, str(default))
            if not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit() or len(text) > 9:
                raise _bad_query(name, f"The value '{text}' is not an integer for {collection}.")
            found[name] = int(text)
        skip, limit = found["skip"], found["limit"]
        if skip < 0:
            raise _bad_query("skip", f"The value '{skip}' is not greater than or equal to 0 for {collection}.")
        if not 0 <= limit <= MAX_LIST:
            raise _bad_query("limit", f"The value '{limit}' is not in the range of 0 to {MAX_LIST} for {collection}.")
        return skip, limit or MAX_LIST

    async def json_object(self, most: int) -> dict[str, Any]:
        """The body, `{}` where there is none; raises Refusal."""
        data = await self._body(most)
        if not data.strip():
            return {}
        kind = self.request.headers.get("content-type", "application/json")
        if kind.partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "The request's Content-Type is not supported. Expected:\napplication/json")
        try:
            text = data.decode()
            found = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
            if "\\u" in text:  # JSON can spell half a surrogate pair; nothing behind can write it.
                json.dumps(found, ensure_ascii=False).encode()
        except RecursionError:
            raise malformed("JSON is nested too deeply") from None
        except ValueError as error:
            raise malformed(str(error)) from None
        if not isinstance(found, dict):
            raise malformed("JSON object expected")
        return found

    async def _body(self, most: int) -> bytes:
        parts = []
        size = 0
        async for part in self.request.stream():
            size += len(part)
            if size <= most:
                parts.append(part)
            elif size > _DISCARDED_BYTES:
                break
        if size > most:
            raise too_large("Request", size, most)
        return b"".join(parts)


def answer(body: Any, status: int = 200) -> Response:
    """JSON."""
    return Response(compact(body).encode(), status, media_type="application/json")


def _bad_query(name: str, reason: str) -> Refusal:
    return Refusal(400, f"The query parameter '{name}' was malformed:\n{reason}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large a number")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
