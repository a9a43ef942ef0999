"""What the replies of an action's process come to, in OpenWhisk's words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from kaas_local.openwhisk.containers.model import APPLICATION_ERROR, DEVELOPER_ERROR, INTERNAL_ERROR, SUCCESS
from kaas_local.openwhisk.parameters import compact

MAX_RESULT_BYTES = 1 << 20

#: So much of a longer result stands in the record.
_TRUNCATED_BYTES = 1024

NO_CODE = "Missing main/no code to execute."
MEMORY_EXHAUSTED = "The action exhausted its memory and was aborted."
GONE_IN_INIT = "The action did not initialize and exited unexpectedly."
GONE_IN_RUN = "The action did not produce a valid response and exited unexpectedly."
INTERRUPTED = "The activation was cut off by the end of the local OpenWhisk API."


@dataclass(frozen=True)
class Reply:
    """A process's reply; `body` is cut off where `length` says more than MAX_RESULT_BYTES."""

    status: int
    body: bytes
    length: int


@dataclass(frozen=True)
class Outcome:
    """An activation's status and result, before anything is known of its times and logs."""

    status: int
    result: Any
    #: Bytes of the result as JSON.
    size: int
    timed_out: bool = False


def failed(text: Any, status: int = DEVELOPER_ERROR, *, timed_out: bool = False) -> Outcome:
    """An outcome that is an error."""
    result = {"error": text}
    return Outcome(status, result, len(_encode(result)), timed_out)


def timed_out(timeout_ms: int, *, in_init: bool) -> Outcome:
    """The process was killed at the action's time limit."""
    end = " during initialization." if in_init else "."
    return failed(f"The action exceeded its time limits of {timeout_ms} milliseconds{end}", timed_out=True)


def not_started(why: str) -> Outcome:
    """No process was to be had."""
    return failed(f"The action was not started: {why}.", INTERNAL_ERROR)


def interrupted() -> Outcome:
    """The process was killed because the API ends."""
    return failed(INTERRUPTED, INTERNAL_ERROR)


def of_init(reply: Reply) -> Outcome | None:
    """None for a good `/init`."""
    if reply.length > MAX_RESULT_BYTES:
        return failed(_too_long(reply))
    if reply.status == 200:
        return None
    content = _decode(reply.body)
    if isinstance(content, dict) and "error" in content:
        return failed(content["error"])
    return failed(f"The action failed during initialization: {_text(reply.body)}")


def of_run(reply: Reply) -> Outcome:
    """What a `/run` came to."""
    if reply.length > MAX_RESULT_BYTES:
        return failed(_too_long(reply), APPLICATION_ERROR)
    content = _decode(reply.body)
    if isinstance(content, dict) and "error" in content:
        return failed(content["error"], APPLICATION_ERROR if reply.status == 200 else DEVELOPER_ERROR)
    if reply.status == 200 and isinstance(content, dict | list):
        return Outcome(SUCCESS, content, reply.length)
    return failed(f"The action did not produce a valid JSON or JSON Array response: {_text(reply.body)}")


def _too_long(reply: Reply) -> str:
    return (
        "The action produced a response that exceeded the allowed length: "
        f"{reply.length} > {MAX_RESULT_BYTES} bytes. The truncated response was: {_text(reply.body)}"
    )


def _text(body: bytes) -> str:
    return body[:_TRUNCATED_BYTES].decode(errors="replace")


def _decode(body: bytes) -> Any:
    """The JSON, with nothing in it that UTF-8 cannot hold; None for what is no JSON, or nested too deeply."""
    try:
        content = json.loads(body, parse_constant=_refuse)
        if b"\\u" in body:  # Half a surrogate pair, perhaps.
            content = json.loads(_encode(content))
    except (ValueError, RecursionError):
        return None
    return content


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _encode(content: Any) -> bytes:
    return compact(content).encode(errors="replace")
