"""Actions and packages: made from requests, kept and shown as JSON. Pure: time and revisions are arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kaas_local.openwhisk.kinds import SEQUENCE, Kinds
from kaas_local.openwhisk.limits import MAX_CODE_BYTES, Limits
from kaas_local.openwhisk.names import Name, parse_component
from kaas_local.openwhisk.parameters import Parameters
from kaas_local.openwhisk.refusal import Refusal, left_out, malformed, too_large

FIRST_VERSION = "0.0.1"

#: Whether an activation's process is told the caller's key.
PROVIDE_API_KEY = "provide-api-key"

#: With a length that four divides, this is all there is to base64.
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True)
class Stamp:
    """What a write is marked with: milliseconds since 1970, and a text that no other write has."""

    now_ms: int
    revision: str


@dataclass(frozen=True)
class Code:
    """What an action runs: a text, or base64 of a zip; or, for the kind `sequence`, other actions."""

    kind: str
    #: Not loaded where None.
    text: str | None = field(default=None, repr=False)
    binary: bool = False
    main: str | None = None
    components: tuple[Name, ...] = ()

    @staticmethod
    def read(given: Any, kinds: Kinds, namespace: str) -> Code:
        """From a request's `exec`; raises Refusal."""
        if not isinstance(given, dict):
            raise malformed("JSON object expected")
        if not isinstance(given.get("kind"), str):
            raise malformed("'kind' must be a string defined in 'exec'")
        kind = kinds.resolve(given["kind"])
        if kind == SEQUENCE:
            components = given.get("components")
            if components is None:
                raise malformed("'components' must be defined for sequence kind")
            if not isinstance(components, list):
                raise malformed("'components' must be an array")
            return Code(kind, components=tuple(parse_component(one, namespace) for one in components))
        main = given.get("main")
        if main is not None and not isinstance(main, str):
            raise malformed(f"if defined, 'main' be a string in 'exec' for '{kind}' actions")
        text = given.get("code")
        if not isinstance(text, str):
            raise malformed(f"'code' must be a string or attachment object defined in 'exec' for '{kind}' actions")
        size = len(text.encode())
        if size > MAX_CODE_BYTES:
            raise too_large("exec", size, MAX_CODE_BYTES)
        return Code(kind, text, _is_base64(text), main)

    @staticmethod
    def from_json(data: Mapping[str, Any], text: str | None) -> Code:
        """From what `to_json` gave."""
        components = tuple(parse_component(one, "") for one in data.get("components", ()))
        return Code(data["kind"], text, data.get("binary", False), data.get("main"), components)

    def to_json(self) -> dict[str, Any]:
        """As documents show it; without the code where that is not loaded."""
        if self.kind == SEQUENCE:
            return {"kind": self.kind, "components": [f"/{one}" for one in self.components]}
        found: dict[str, Any] = {"kind": self.kind, "binary": self.binary}
        if self.text is not None:
            found["code"] = self.text
        if self.main is not None:
            found["main"] = self.main
        return found


@dataclass(frozen=True)
class Entity:
    """What actions and packages have in common."""

    name: Name
    parameters: Parameters
    annotations: Parameters
    version: str
    publish: bool
    stamp: Stamp

    def summary(self) -> dict[str, Any]:
        """As lists show it."""
        return {
            "namespace": self.name.path,
            "name": self.name.name,
            "version": self.version,
            "publish": self.publish,
            "annotations": self.annotations.to_json(),
            "updated": self.stamp.now_ms,
        }


@dataclass(frozen=True)
class Action(Entity):
    """An action of code, or a sequence."""

    code: Code
    limits: Limits

    @staticmethod
    def put(old: Action | None, name: Name, body: Mapping[str, Any], kinds: Kinds, stamp: Stamp) -> Action:
        """A new action, or `old` with what the body changes; raises Refusal.

        Whether the components of a sequence exist is not asked here.
        """
        code = Code.read(body["exec"], kinds, name.namespace) if body.get("exec") is not None else None
        if code is None and old is None:
            raise Refusal(400, "exec undefined")
        annotations = _annotations(old, body)
        if annotations.is_truthy("conductor"):
            raise left_out("Conductor actions are")
        if annotations.is_truthy("web-export"):
            raise left_out("Web actions (`--web`) are")
        found = code or (old.code if old is not None else None)
        assert found is not None
        if old is None and PROVIDE_API_KEY not in annotations.values:
            annotations = Parameters({PROVIDE_API_KEY: False}).over(annotations)
        limits = Limits.merge(old.limits if old else Limits(), body.get("limits") or {})
        limits.check(found.kind)
        return Action(
            name=name,
            parameters=_action_parameters(old, code, body),
            annotations=Parameters({"exec": found.kind}).over(annotations),
            version=_version(old, body),
            publish=_publish(old, body),
            stamp=stamp,
            code=found,
            limits=limits,
        )

    @staticmethod
    def from_json(data: Mapping[str, Any], revision: str, text: str | None) -> Action:
        """From a stored document."""
        return Action(**_kept(data, revision), code=Code.from_json(data["exec"], text), limits=Limits(**data["limits"]))

    def to_json(self) -> dict[str, Any]:
        """The document; with the code if that is loaded."""
        return {
            **self.summary(),
            "exec": self.code.to_json(),
            "parameters": self.parameters.to_json(),
            "limits": self.limits.to_json(),
        }

    def to_list(self) -> dict[str, Any]:
        """As a list shows it."""
        return {**self.summary(), "limits": self.limits.to_json(), "exec": {"binary": self.code.binary}}

    def inheriting(self, package: Package) -> Action:
        """With the package's parameters under its own."""
        return replace(self, parameters=self.parameters.over(package.parameters))

    def without_code(self) -> Action:
        """The same, the code not loaded."""
        return replace(self, code=replace(self.code, text=None))


@dataclass(frozen=True)
class Package(Entity):
    """A set of actions with parameters in common."""

    @staticmethod
    def put(old: Package | None, name: Name, body: Mapping[str, Any], stamp: Stamp) -> Package:
        """A new package, or `old` with what the body changes; raises Refusal."""
        if body.get("binding"):
            raise left_out("Package bindings are")
        return Package(
            name=name,
            parameters=_replaced(old, body, "parameters"),
            annotations=_replaced(old, body, "annotations"),
            version=_version(old, body),
            publish=_publish(old, body),
            stamp=stamp,
        )

    @staticmethod
    def from_json(data: Mapping[str, Any], revision: str) -> Package:
        """From a stored document."""
        return Package(**_kept(data, revision))

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {**self.summary(), "parameters": self.parameters.to_json(), "binding": {}}

    def to_list(self) -> dict[str, Any]:
        """As a list shows it."""
        return {**self.summary(), "binding": False}


def _annotations(old: Action | None, body: Mapping[str, Any]) -> Parameters:
    given = _replaced(None, body, "annotations")
    dropped = body.get("delAnnotations") or []
    if not isinstance(dropped, list) or not all(isinstance(key, str) for key in dropped):
        raise malformed("delAnnotations is not a list of texts")
    return given.over((old.annotations if old else Parameters()).without(dropped))


def _action_parameters(old: Action | None, code: Code | None, body: Mapping[str, Any]) -> Parameters:
    """Of a sequence, its components, whatever the body says; as OpenWhisk has it."""
    found = code or (old.code if old else None)
    if found is not None and found.kind == SEQUENCE:
        return Parameters({"_actions": [f"/{one}" for one in found.components]})
    keeps = old is not None and old.code.kind != SEQUENCE
    return _replaced(old if keeps else None, body, "parameters")


def _replaced(old: Entity | None, body: Mapping[str, Any], field_name: str) -> Parameters:
    if body.get(field_name) is not None:
        return Parameters.read(body[field_name], field_name)
    found = getattr(old, field_name) if old is not None else Parameters()
    assert isinstance(found, Parameters)
    return found


def _version(old: Entity | None, body: Mapping[str, Any]) -> str:
    given = body.get("version")
    if given is not None:
        parts = given.split(".") if isinstance(given, str) else []
        numbers = [int(part) for part in parts if part.isascii() and part.isdigit() and len(part) < 10]
        if not 1 <= len(parts) == len(numbers) <= 3 or not any(numbers):
            raise malformed("semantic version malformed")
        return ".".join(str(number) for number in [*numbers, 0, 0][:3])
    if old is None:
        return FIRST_VERSION
    major, minor, patch = old.version.split(".")
    return f"{major}.{minor}.{int(patch) + 1}"


def _publish(old: Entity | None, body: Mapping[str, Any]) -> bool:
    given = body.get("publish")
    if given is None:
        return old.publish if old is not None else False
    if not isinstance(given, bool):
        raise malformed("'publish' must be a boolean")
    return given


def _kept(data: Mapping[str, Any], revision: str) -> dict[str, Any]:
    """What `Entity` has, from a stored document."""
    namespace, _, package = data["namespace"].partition("/")
    return {
        "name": Name(namespace, package or None, data["name"]),
        "parameters": Parameters.read(data["parameters"], "parameters"),
        "annotations": Parameters.read(data["annotations"], "annotations"),
        "version": data["version"],
        "publish": data["publish"],
        "stamp": Stamp(data["updated"], revision),
    }


def _is_base64(text: str) -> bool:
    trimmed = text.strip()
    return len(trimmed) % 4 == 0 and _BASE64.fullmatch(trimmed) is not None
