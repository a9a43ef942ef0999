"""Names of entities: what is allowed, and where a name points."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kaas_local.openwhisk.refusal import Refusal, malformed

MAX_LENGTH = 256

#: The caller's own namespace, in paths and in components of sequences.
OWN = "_"

#: OpenWhisk's name for what is in no package, in the paths of web actions.
RESERVED_PACKAGES = frozenset({"default"})

_NAME = re.compile(r"\w|\w[\w@ .&-]*[\w@.&-]", re.ASCII)
_ACTIVATION_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, order=True)
class Name:
    """An action's or a package's place: `/namespace/name` or `/namespace/package/name`."""

    namespace: str
    package: str | None
    name: str

    @property
    def path(self) -> str:
        """What documents call the entity's namespace: `guest`, or `guest/package`."""
        return self.namespace if self.package is None else f"{self.namespace}/{self.package}"

    @property
    def local(self) -> str:
        """`name`, or `package/name`."""
        return self.name if self.package is None else f"{self.package}/{self.name}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.local}"

    @property
    def parent(self) -> Name | None:
        """The package that holds it."""
        return Name(self.namespace, None, self.package) if self.package is not None else None


def check_segment(text: str) -> str:
    """A name of a path, as it is; raises Refusal."""
    if len(text) > MAX_LENGTH:
        raise Refusal(400, f"Name segement longer than allowed: {len(text)} > {MAX_LENGTH}.")
    if not _NAME.fullmatch(text):
        raise Refusal(400, "The name of the entity contains illegal characters.")
    return text


def check_namespace(text: str, own: str) -> str:
    """The namespace that a path names, `_` being the caller's `own`; raises Refusal."""
    if text == OWN:
        return own
    if len(text) > MAX_LENGTH:
        raise Refusal(400, f"Namespace longer than allowed: {len(text)} > {MAX_LENGTH}.")
    if not _NAME.fullmatch(text):
        raise Refusal(400, "The namespace contains illegal characters.")
    return text


def check_activation_id(text: str) -> str:
    """An activation's id, as it is; raises Refusal."""
    if len(text) != 32:
        raise Refusal(400, f"Activation id length is {len(text)} but must be 32.")
    if not _ACTIVATION_ID.fullmatch(text):
        raise Refusal(400, "The activation id is not valid.")
    return text


def parse_component(text: object, own: str) -> Name:
    """A sequence's component: `/namespace/name`, `/namespace/package/name`, or, what OpenWhisk refuses, `name`.

    Raises Refusal.
    """
    if not isinstance(text, str):
        raise malformed("fully qualified name malformed")
    parts = [part.strip() for part in text.split("/") if part]
    if len(parts) == 1 and not text.startswith("/"):
        parts.insert(0, OWN)
    if not all(map(_NAME.fullmatch, parts)):
        raise malformed("fully qualified name malformed")
    if len(parts) not in (2, 3):
        raise malformed(
            "The fully qualified name of the entity must contain at least the namespace and the name of the entity."
        )
    return Name(check_namespace(parts[0], own), parts[1] if len(parts) == 3 else None, parts[-1])
