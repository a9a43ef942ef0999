"""The limits of an action and of the platform: OpenWhisk's defaults, and where this machine's differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from kaas_local.openwhisk.kinds import KERNEL
from kaas_local.openwhisk.refusal import Refusal, malformed

MAX_PAYLOAD_BYTES = 1 << 20
MAX_PARAMETERS_BYTES = 1 << 20
#: Of code as it stands in `exec.code`.
MAX_CODE_BYTES = 48 << 20
MAX_BODY_BYTES = 50 << 20
MAX_SEQUENCE_LENGTH = 50
#: How long a blocking call waits before it gets the activation's id alone.
MAX_WAIT_MS = 60_000

DEFAULT_LIST = 30
MAX_LIST = 200

#: OpenWhisk's 60 and 30 protect what many share; these protect the process.
ACTIVATIONS_PER_MINUTE = 6000
CONCURRENT_ACTIVATIONS = 200

#: OpenWhisk's default is 1 for every kind; the proxy of a kernel action runs up to 64 at a time.
_MAX_KERNEL_CONCURRENCY = 64

_RANGES = {"timeout": (100, 300_000), "memory": (128, 512), "logs": (0, 10)}


@dataclass(frozen=True)
class Limits:
    """One action's: milliseconds, MB of resident memory, MB of logs, calls at a time in one process.

    The last is kept for an OpenWhisk that the action goes to: here the kind alone decides.
    """

    timeout: int = 60_000
    memory: int = 256
    logs: int = 10
    concurrency: int = 1

    @staticmethod
    def merge(old: Limits, given: Any) -> Limits:
        """`old` with what a request's `limits` says; raises Refusal for what is no number."""
        if not isinstance(given, Mapping):
            raise malformed("no valid json object passed")
        values = asdict(old)
        for name in values:
            value = given.get(name)
            if value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool):
                raise malformed(f"the limit '{name}' is not an integer")
            values[name] = value
        return Limits(**values)

    def check(self, kind: str) -> None:
        """Raises Refusal for a limit that is out of the range it has for this kind."""
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value > most:
                raise Refusal(400, _outside(name, value, "exceeds", most))
            if value < least:
                raise Refusal(400, _outside(name, value, "below", least))
        most = _MAX_KERNEL_CONCURRENCY if kind == KERNEL else 1
        if self.concurrency > most:
            raise Refusal(400, f"concurrency {self.concurrency} exceeds allowed threshold of {most}")
        if self.concurrency < 1:
            raise Refusal(400, f"concurrency {self.concurrency} below allowed threshold of 1")

    def to_json(self) -> dict[str, int]:
        """As documents show it."""
        return asdict(self)


def _outside(name: str, value: int, how: str, bound: int) -> str:
    if name == "timeout":
        return f"duration {value} milliseconds {how} allowed threshold of {bound} milliseconds"
    return f"{name.removesuffix('s')} size {value} MB {how} allowed threshold of {bound} MB"


def platform_limits() -> dict[str, int]:
    """What `GET /` says of them: milliseconds and bytes."""
    found = {
        "actions_per_minute": ACTIVATIONS_PER_MINUTE,
        "triggers_per_minute": 0,
        "concurrent_actions": CONCURRENT_ACTIVATIONS,
        "sequence_length": MAX_SEQUENCE_LENGTH,
    }
    for name, (least, most) in _RANGES.items():
        label, unit = ("duration", 1) if name == "timeout" else (name, 1 << 20)
        found |= {
            f"min_action_{label}": least * unit,
            f"max_action_{label}": most * unit,
            f"default_action_{label}": _DEFAULTS[name] * unit,
        }
    return found


def namespace_limits() -> dict[str, Any]:
    """What `GET /namespaces/_/limits` says, in MB and milliseconds."""
    found: dict[str, Any] = {
        "invocationsPerMinute": ACTIVATIONS_PER_MINUTE,
        "concurrentInvocations": CONCURRENT_ACTIVATIONS,
        "firesPerMinute": 0,
        "maxParameterSize": f"{MAX_PARAMETERS_BYTES} B",
        "maxPayloadSize": f"{MAX_PAYLOAD_BYTES} B",
        "minActionConcurrency": 1,
        "maxActionConcurrency": _MAX_KERNEL_CONCURRENCY,
    }
    for name, (least, most) in _RANGES.items():
        found |= {f"minAction{name.capitalize()}": least, f"maxAction{name.capitalize()}": most}
    return found


_DEFAULTS = {field.name: field.default for field in fields(Limits) if isinstance(field.default, int)}
