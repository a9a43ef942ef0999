"""References, inline values, requests and calls: bound to consistent sizes, or refused at one of the arguments."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from hunt import hunt
from hypothesis import strategies as st
from made_calls import REFERENCES, WILD, MadeCall, bodies, inline_arrays, made_calls, read_manifest
from made_manifests import SEEDS
from properties import VALUE, check_call, check_call_place, check_error, check_reference, check_request

from kaas.binding import Binding, InlineSource, InlineTarget, ObjectSource, ObjectTarget, bind
from kaas.call import Call
from kaas.dtypes import DTYPES
from kaas.errors import CallerError
from kaas.formats import inline, npy
from kaas.manifest import Manifest
from kaas.references import MAX_INLINE_BYTES


def test_references() -> None:
    hunt("reference", REFERENCES, check_reference, short=150, share=0.02, outcomes=[VALUE, "reference_invalid"])


def check_inline(case: tuple[str, tuple[int, ...], list[Any]]) -> str:
    """Lists hold what NumPy makes of them, and come back as they were."""
    name, shape, numbers = case
    dtype = DTYPES[name]
    data = np.array(numbers, "float32" if dtype.kind == "c" else name).tobytes()
    as_base64 = inline.encode(data, dtype, shape, as_base64=True)
    value = inline.encode(data, dtype, shape)
    for form in (as_base64, value):
        again = inline.decode(json.loads(json.dumps(form, allow_nan=False)), dtype, "arguments.x")
        assert (again.data, again.shape) == (data, shape)
    if isinstance(value, dict):
        return "base64"
    texts = np.array([value], dtype=object) if shape == () and dtype.kind != "c" else np.array(value, dtype=object)
    assert texts.size == len(numbers)
    return VALUE


def test_inline_values() -> None:
    hunt("inline value", inline_arrays(), check_inline, short=100, share=0.015, outcomes=[VALUE, "base64"])


def test_bodies_of_requests() -> None:
    hunt("request", bodies(), check_request, short=100, share=0.01, outcomes=[VALUE, "request_invalid"])


def check_bound(case: MadeCall) -> str:
    """A call that binds has sizes that agree with each other, and crosses processes unchanged."""
    manifest = read_manifest(case.text)
    assert manifest is not None
    try:
        call = Call.parse(manifest, case.arguments, activation_id="a1")
        binding = bind(manifest, call, case.objects, case.files)
    except CallerError as error:
        check_call_place(error, manifest, case.arguments)
        return check_error(error)
    _check_sizes(binding)
    text = json.dumps(binding.to_json(), allow_nan=False)
    assert json.dumps(Binding.from_json(json.loads(text)).to_json()) == text
    return VALUE


def _check_sizes(binding: Binding) -> None:
    for buffer in binding.buffers.values():
        dtype = DTYPES[buffer.dtype]
        assert buffer.nbytes == math.prod(buffer.shape) * dtype.itemsize
        assert (buffer.source is None) == (buffer.io in ("out", "temp"))
        assert (buffer.target is None) == (buffer.io in ("in", "const", "temp"))
        if isinstance(buffer.source, ObjectSource):
            assert buffer.source.size == buffer.nbytes
            assert buffer.source.offset >= 0
        elif isinstance(buffer.source, InlineSource):
            assert len(buffer.source.data) == buffer.nbytes <= MAX_INLINE_BYTES
        if isinstance(buffer.target, InlineTarget):
            assert buffer.nbytes <= MAX_INLINE_BYTES
        elif isinstance(buffer.target, ObjectTarget) and buffer.target.key.endswith(".npy"):
            assert buffer.target.header == npy.make_header(dtype, buffer.shape)
    assert binding.device_bytes >= sum(buffer.nbytes for buffer in binding.buffers.values())


def test_calls() -> None:
    outcomes = [VALUE, "argument_invalid"]
    hunt("call", made_calls(), check_bound, short=120, share=0.015, outcomes=outcomes)


def test_wild_arguments() -> None:
    manifest = Manifest.parse(SEEDS[1])
    names = st.sampled_from([*manifest.params, *manifest.buffers, "rename", "freshness", "outputs", "image"])
    wild = st.dictionaries(names | st.text(max_size=4), WILD | REFERENCES, max_size=8)
    hunt("wild arguments", wild, lambda arguments: check_call(manifest, arguments), short=60, share=0.015)
