"""Holds one Python action: `python -X utf8 -I python.py DESCRIPTOR`, in a directory of its own."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import struct
import sys
import traceback
from pathlib import Path
from socket import socket
from typing import Any, BinaryIO

_HEADER = struct.Struct(">IQQ")

_NO_BINARY = "The action failed to generate or locate a binary. See logs for details."
_NO_RESULT = "The action did not return a dictionary or array."

#: Not `main`, nor `__main__`: the module is imported, as on the platform, and this program is `__main__`.
_MODULE = "main__"


class _RefusedError(Exception):
    """The code cannot be an action; said on stderr already."""


def _main() -> None:
    channel = socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    requests = channel.makefile("rb")
    sys.argv[1:] = []
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    name, request = _receive(requests)
    value = request["value"]
    os.environ.update(value["env"])
    try:
        function = _load(value.get("code"), value["main"])
    except _RefusedError:
        _send(channel, name, 502, json.dumps({"error": _NO_BINARY}))
        return
    _send(channel, name, 200, json.dumps({"ok": True}))
    while True:
        name, request = _receive(requests)
        payload = request.pop("value")
        os.environ.update({f"__OW_{key.upper()}": text for key, text in request.items()})
        _send(channel, name, *_call(function, payload))


def _receive(requests: BinaryIO) -> tuple[int, dict[str, Any]]:
    header = requests.read(_HEADER.size)
    if len(header) < _HEADER.size:
        sys.exit(0)
    _, name, length = _HEADER.unpack(header)
    return name, json.loads(requests.read(length))


def _send(channel: socket, name: int, status: int, text: str) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    body = text.encode()
    channel.sendall(_HEADER.pack(status, name, len(body)) + body)


def _load(code: str | None, main: str) -> Any:
    """The function; what its import raises ends the process."""
    here = Path.cwd()
    file = here / f"{_MODULE}.py"
    if code is not None:
        file.write_text(code)
    elif (here / "__main__.py").exists():
        (here / "__main__.py").rename(file)
    else:
        print("Zip file does not include __main__.py", file=sys.stderr)  # noqa: T201
        raise _RefusedError
    try:
        compile(file.read_bytes(), file, "exec")
    except (SyntaxError, ValueError) as error:
        traceback.print_exception(error, limit=0)
        raise _RefusedError from None
    sys.path.insert(0, str(here))
    environment = here / "virtualenv" / "bin" / "activate_this.py"
    if environment.exists():
        runpy.run_path(str(environment))
    return getattr(importlib.import_module(_MODULE), main)


def _call(function: Any, payload: Any) -> tuple[int, str]:
    try:
        result = function(payload)
    except Exception as error:
        traceback.print_exc()
        result = {"error": str(error)}
    try:
        text = json.dumps(result, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        print(f"the result: {error}", file=sys.stderr)  # noqa: T201
        return 502, json.dumps({"error": _NO_RESULT})
    return (200, text) if text[0] in "{[" else (502, json.dumps({"error": _NO_RESULT}))


if __name__ == "__main__":
    _main()
