"""What must hold for any input: a value, or an error of the table whose `where` points into the input.

Each check names the outcome, and raises whatever is neither. Both engines use them: hypothesis with made cases
(test_fuzz_*.py), atheris with mutated bytes (guided.py).
"""

from __future__ import annotations

import json
import re
from typing import Any

from manifest_cases import FULL

from kaas import messages
from kaas._sections import RESERVED
from kaas.archive import MAX_BYTES, read_archive
from kaas.bundle import Bundle
from kaas.call import Call
from kaas.errors import AuthorError, CallerError, KaasError
from kaas.expressions import HIGH, LOW, Expression
from kaas.formats import npy, safetensors
from kaas.manifest import Manifest
from kaas.references import Reference, output_reference
from kaas.strict_json import MAX_DEPTH
from kaas_pool.frames import INLINE_BYTES, Link, LinkClosed
from kaas_pool.front.executor_frames import check_frame
from kaas_pool.front.pins import object_id_of
from kaas_pool.front.requests import parse_json

VALUE = "value"

#: An error does not give back all that it was given.
MAX_MESSAGE = 1500

_FULL = Manifest.parse(FULL)

_PLACE = re.compile(r"kaas\.yaml(?::(\d+)(?::\d+)?( .+)?)?", re.DOTALL)


def check_error(error: KaasError) -> str:
    """An error is short, and can go into JSON and back; returns its code."""
    assert error.message
    assert len(error.message) < MAX_MESSAGE, len(error.message)
    assert len(error.hint or "") < MAX_MESSAGE
    assert len(error.where or "") < MAX_MESSAGE
    again = KaasError.from_json(json.loads(json.dumps(error.to_json())))
    assert isinstance(again, type(error))
    assert again.to_json() == error.to_json()
    return error.code


def check_place(error: KaasError, text: str | bytes) -> None:
    """An error's place is a line of the manifest."""
    found = _PLACE.fullmatch(error.where or "")
    assert found, error.where
    # YAML has more kinds of line breaks than \n.
    lines = len((text if isinstance(text, str) else text.decode("utf-8", "replace")).splitlines())
    assert 1 <= int(found[1] or 1) <= lines + 1, error.where


def check_manifest(text: str | bytes) -> str:
    """Manifest.parse and parse_all agree on any text."""
    manifest, errors = Manifest.parse_all(text)
    try:
        Manifest.parse(text)
    except AuthorError as error:
        assert [str(error)] == [str(one) for one in errors[:1]]
        for one in errors:
            check_error(one)
            check_place(one, text)
        return error.code
    assert manifest is not None
    assert errors == ()
    return VALUE


def check_bundle(data: bytes) -> str:
    """A bundle opens, or says why not."""
    try:
        bundle = Bundle.open(data)
    except AuthorError as error:
        return check_error(error)
    assert sum(map(len, bundle.files.values())) <= MAX_BYTES
    for layout in bundle.layouts.values():
        assert layout.offset >= 0
        assert layout.nbytes >= 0
    return VALUE


def check_archive(data: bytes) -> str:
    """A zip unpacks within its limits into plain paths."""
    try:
        files = read_archive(data)
    except AuthorError as error:
        assert error.code in ("bundle_invalid", "bundle_too_large")
        return check_error(error)
    assert sum(map(len, files.values())) <= MAX_BYTES
    for name in files:
        assert not name.startswith("/")
        assert not {"", ".", ".."} & set(name.split("/"))
    return VALUE


def check_expression(text: str) -> str:
    """An expression has a value in range under any names, or says why not."""
    try:
        value: Any = Expression.parse(text, "kaas.yaml:1 let.x").number({"n": 1000, "m": 3, "d": 4.0, "k": 0})
    except CallerError as error:
        assert error.code in ("expression_invalid", "expression_range", "name_unknown")
        assert error.where == "kaas.yaml:1 let.x"
        return check_error(error)
    assert isinstance(value, float) or LOW <= value <= HIGH
    return VALUE


def check_npy(data: bytes) -> str:
    """The header of an .npy tells where all its data lie, or is refused."""
    try:
        layout = npy.read_layout(data, len(data), "x.npy", "arguments.x")
    except CallerError as error:
        assert error.code in ("format_invalid", "dtype_mismatch", "size_mismatch")
        assert error.where == "arguments.x"
        return check_error(error)
    assert layout.offset + layout.nbytes == len(data)
    return VALUE


def check_safetensors(data: bytes, tensor: str = "w") -> str:
    """A tensor lies inside its file, or is refused."""
    head = data[: safetensors.header_bytes(data)]
    try:
        layout = safetensors.read_tensor(head, len(data), tensor, "x", "arguments.x").layout
    except CallerError as error:
        assert error.code in ("format_invalid", "dtype_mismatch", "object_not_found")
        assert error.where == "arguments.x"
        return check_error(error)
    assert len(head) <= layout.offset <= layout.offset + layout.nbytes <= len(data)
    return VALUE


def check_reference(text: str) -> str:
    """What is read as a reference is written as one that is read the same."""
    object_id_of(text)
    try:
        reference = Reference.parse(text, "arguments.x")
    except CallerError as error:
        assert error.code == "reference_invalid"
        assert error.where == "arguments.x"
        return check_error(error)
    assert Reference.parse(str(reference), "arguments.x") == reference
    assert Reference.parse(reference.object_id, "arguments.x") == reference.whole()
    try:
        assert output_reference(text, "arguments.x") == reference
    except CallerError as error:
        check_error(error)
    return VALUE


def check_call_place(error: KaasError, manifest: Manifest, arguments: dict[str, Any]) -> None:
    """An error's place is an argument, one that is missing, or a line of the manifest."""
    where = error.where or ""
    if where.startswith("kaas.yaml:"):
        return
    first, _, rest = where.partition(".")
    assert first in ("arguments", "outputs"), where
    known = {*arguments, *manifest.buffers, *manifest.params, *RESERVED, ""}
    assert any(rest == name or rest.startswith(f"{name[:80]}.") for name in known), where


def check_call(manifest: Manifest, arguments: dict[str, Any]) -> str:
    """Any arguments make a call, or an error that names one of them."""
    try:
        call = Call.parse(manifest, arguments, activation_id="a1", outputs_prefix=None)
    except CallerError as error:
        check_call_place(error, manifest, arguments)
        return check_error(error)
    assert call.params.keys() == manifest.params.keys()
    return VALUE


def check_request(data: bytes) -> str:
    """The body of an invocation is one, or is `request_invalid`."""
    try:
        body = messages.InvocationRequest.from_json(parse_json(data))
    except CallerError as error:
        assert error.code == "request_invalid"
        return check_error(error)
    assert _depth(body.arguments) <= MAX_DEPTH
    assert messages.InvocationRequest.from_json(json.loads(json.dumps(body.to_json()))) == body
    return VALUE


def check_call_body(data: bytes) -> str:
    """JSON as the arguments of an action that has every feature."""
    try:
        arguments = parse_json(data)
    except CallerError as error:
        return check_error(error)
    return check_call(_FULL, arguments) if isinstance(arguments, dict) else "no object"


def check_frame_body(data: bytes) -> str:
    """A message of an executor is a frame that fits, or ends the link."""
    one, two = Link.pair()
    with one.sock, two.sock:
        try:
            one.sock.send(data[:INLINE_BYTES])
            frame, _ = two.receive()
            check_frame(frame)
        except (LinkClosed, ValueError):
            return "closed"
    return VALUE


def _depth(value: object) -> int:
    if not isinstance(value, (dict, list)):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)
