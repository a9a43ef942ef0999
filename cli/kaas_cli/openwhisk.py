"""An OpenWhisk API by plain HTTP: as much of what `wsk` sends as the demonstration needs."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaas.connections import ConnectionFailedError, Connections
from kaas.errors import KaasError
from kaas_cli.output import PLATFORM, Failure, patience

_CONNECT_SECONDS = 10.0

#: The API answers a blocking call after a minute at the latest.
_ANSWER_SECONDS = 90.0

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Code:
    """What an action runs, and the file that `wsk` would take it from."""

    kind: str
    content: bytes
    file: Path

    def to_json(self) -> dict[str, Any]:
        """The action's `exec`."""
        binary = self.file.suffix == ".zip"
        code = base64.b64encode(self.content) if binary else self.content
        return {"kind": self.kind, "code": code.decode(), "binary": binary}


@dataclass(frozen=True)
class Activation:
    """One that ended well; `logs` of a sequence are the ids of its components' activations."""

    result: dict[str, Any]
    milliseconds: int
    logs: list[str]

    @property
    def stats(self) -> dict[str, Any]:
        """The statistics of a kernel action."""
        stats: dict[str, Any] = self.result["kaas"]["stats"]
        return stats


class OpenWhisk:
    """The API that `variables` tell of, as the namespace whose key they have.

    Before each change and invocation `tell` gets the line of `wsk` that does the same; a value that is one of the
    `variables` stands there under its name. What the API says is wrong is raised.
    """

    def __init__(self, variables: Mapping[str, str], tell: Callable[[str], None]) -> None:
        self._connections = Connections(variables["WHISK_APIHOST"])
        key = base64.b64encode(variables["WHISK_AUTH"].encode()).decode()
        self._headers = {"Authorization": f"Basic {key}", "Content-Type": "application/json"}
        self._names = {value: f'"${name}"' for name, value in variables.items()}
        self.tell = tell

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def put_package(self, name: str, parameters: Values) -> None:
        """Create a package, or replace it."""
        self._say("package", "update", name, *_options("-p", parameters))
        self._put(f"packages/{name}", {"parameters": _pairs(parameters)})

    def put_action(self, name: str, code: Code, parameters: Values, annotations: Values) -> None:
        """Create an action, or replace it."""
        options = [*_options("-p", parameters), *_options("-a", annotations)]
        self._say("action", "update", name, str(code.file), "--kind", code.kind, *options)
        body = {"exec": code.to_json(), "parameters": _pairs(parameters), "annotations": _pairs(annotations)}
        self._put(f"actions/{name}", body)

    def put_sequence(self, name: str, components: Sequence[str]) -> None:
        """Create a sequence of actions, or replace it."""
        self._say("action", "update", name, "--sequence", ",".join(components))
        paths = [f"/_/{component}" for component in components]
        self._put(f"actions/{name}", {"exec": {"kind": "sequence", "components": paths}})

    def invoke(self, name: str, arguments: Values) -> Activation:
        """Invoke an action and wait for its end; raises what it ended with, if that is an error."""
        self._say("action", "invoke", name, "--result", *_options("-p", arguments))
        status, body = self._send("POST", f"actions/{name}?blocking=true", arguments, f"running {name}")
        if status == 202:
            raise Failure(f"{name} is not done after a minute", where=f"activation {body['activationId']}")
        if "response" not in body:
            raise _refused(f"invoking {name}", status, body)
        activation = _activation(body)
        error = activation.result.get("error")
        if isinstance(error, dict) and "code" in error:
            raise KaasError.from_json(error)
        if error is not None:
            raise Failure(f"{name}: {error}", where=f"activation {body['activationId']}")
        return activation

    def activation(self, activation_id: str) -> Activation:
        """The record of an activation that has ended."""
        status, body = self._send("GET", f"activations/{activation_id}", None, "reading an activation")
        if status != 200:
            raise _refused(f"activation {activation_id}", status, body)
        return _activation(body)

    def _put(self, path: str, body: Values) -> None:
        status, answer = self._send("PUT", f"{path}?overwrite=true", body, f"creating {path}")
        if status != 200:
            raise _refused(f"creating {path}", status, answer)

    def _send(self, method: str, path: str, body: Values | None, what: str) -> tuple[int, dict[str, Any]]:
        data = None if body is None else json.dumps(body).encode()
        try:
            with patience(what):
                status, received = self._connections.send(
                    method,
                    f"/api/v1/namespaces/_/{path}",
                    data,
                    self._headers,
                    connect_s=_CONNECT_SECONDS,
                    answer_s=_ANSWER_SECONDS,
                )
        except ConnectionFailedError as failed:
            raise Failure(f"the OpenWhisk API {failed}", where=what, status=PLATFORM) from failed
        answer: dict[str, Any] = json.loads(received)
        return status, answer

    def _say(self, *words: str) -> None:
        shown = [self._names.get(word, shlex.quote(word)) for word in words]
        self.tell(" ".join(["wsk", *shown]))


def _options(flag: str, values: Values) -> list[str]:
    """The values as `wsk` takes them, which reads each as JSON where it is such."""
    words = []
    for name, value in values.items():
        words += [flag, name, value if isinstance(value, str) else json.dumps(value)]
    return words


def _pairs(values: Values) -> list[dict[str, Any]]:
    return [{"key": name, "value": value} for name, value in values.items()]


def _activation(record: Values) -> Activation:
    return Activation(record["response"]["result"], record["duration"], record["logs"])


def _refused(what: str, status: int, body: Values) -> Failure:
    return Failure(f"the OpenWhisk API answered {status}: {body.get('error')}", where=what, status=PLATFORM)
