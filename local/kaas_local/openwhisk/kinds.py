"""The kinds of action that run here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kaas_local.openwhisk.refusal import Refusal, left_out, malformed

KERNEL = "kaas:1"
PYTHON = "python:3"
NODEJS = "nodejs:20"

#: Not a kind of code: a list of other actions.
SEQUENCE = "sequence"
_BLACKBOX = "blackbox"


@dataclass(frozen=True)
class Kinds:
    """The kinds that this machine can run; each family has one, which is its default."""

    known: tuple[str, ...] = (KERNEL, PYTHON, NODEJS)

    def resolve(self, given: str) -> str:
        """The kind that a request means, `family:default` included; raises Refusal for one that is not there."""
        kind = given.strip().lower()
        family, _, version = kind.partition(":")
        if version == "default":
            kind = next((one for one in self.known if one.partition(":")[0] == family), kind)
        if kind in self.known or kind == SEQUENCE:
            return kind
        if kind == _BLACKBOX:
            raise left_out("Actions made from Docker images are")
        if kind in (NODEJS, "nodejs:default"):
            raise Refusal(400, f"The runtime '{NODEJS}' needs Node.js 20 or newer on PATH, and there is none here.")
        valid = ", ".join(f"'{one}'" for one in (*self.known, SEQUENCE))
        raise malformed(f"The specified runtime '{kind}' is not supported by this platform. Valid values are: {valid}.")

    def to_json(self) -> dict[str, Any]:
        """What `GET /` says of them, by family."""
        return {
            kind.partition(":")[0]: [
                {
                    "kind": kind,
                    "default": True,
                    "deprecated": False,
                    "requireMain": False,
                    "attached": True,
                    "image": "none: a process of this machine",
                }
            ]
            for kind in self.known
        }
