"""The examples together use the whole manifest: what its schema, its steps and its expressions can say, one says."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from manifest_cases import plain

from kaas import _yaml, graph
from kaas.dtypes import DTYPES
from kaas.expressions import FUNCTIONS
from kaas.graph import Arg, BufferArg, KernelStep, RepeatStep, Step
from kaas.manifest import Manifest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "examples").glob("*/kaas.yaml"))
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs/manifest.schema.json").read_text("utf-8"))

#: Parts of the schema that say what is refused, or under which condition.
_RULES = ("not", "if", "then", "allOf", "propertyNames")

#: Element types are asked for one by one below, because an expression can name one too.
_DTYPES = SCHEMA["$defs"]["dtype"]["enum"]

#: `nan` and the infinities are values of a parameter like any other number.
_NUMBERS = ["nan", "inf", "-inf"]


def offered(part: Any, name: str = "manifest") -> Iterator[str]:
    """Every key and every choice of the schema, as `buffer.zero` and `buffer.io=out`."""
    if isinstance(part, list):
        for one in part:
            yield from offered(one, name)
        return
    if not isinstance(part, dict):
        return
    for key, value in part.get("properties", {}).items():
        yield f"{name}.{key}"
        yield from offered(value, f"{name}.{key}")
    if part.get("enum") not in (None, _DTYPES, _NUMBERS):
        yield from (f"{name}={value}" for value in part["enum"])
    for key in ("anyOf", "oneOf", "items", "additionalProperties"):
        yield from offered(part.get(key), name)
    for key, value in part.get("$defs", {}).items():
        yield from offered(value, key)


def used(value: Any, part: Any, name: str = "manifest") -> Iterator[str]:
    """What of that a manifest's tree has."""
    if not isinstance(part, dict):
        return
    if "$ref" in part:
        target = part["$ref"].rpartition("/")[2]
        yield from used(value, SCHEMA["$defs"][target], target)
    for key in ("anyOf", "oneOf"):
        for choice in part.get(key, ()):
            if Draft202012Validator({**choice, "$defs": SCHEMA["$defs"]}).is_valid(value):
                yield from used(value, choice, name)
    if isinstance(value, dict):
        for key, inner in value.items():
            known = part.get("properties", {})
            if key in known:
                yield f"{name}.{key}"
                yield from used(inner, known[key], f"{name}.{key}")
            else:
                yield from used(inner, part.get("additionalProperties"), name)
    elif isinstance(value, list):
        for inner in value:
            yield from used(inner, part.get("items"), name)
    elif "enum" in part:
        yield f"{name}={value}"


TREES = [plain(_yaml.read(path.read_text("utf-8"), path.name)) for path in FILES]
MANIFESTS = [Manifest.parse(path.read_bytes()) for path in FILES]
USED = {feature for tree in TREES for feature in used(tree, SCHEMA)}


def steps_of(steps: Sequence[Step], depth: int = 0) -> Iterator[tuple[int, Step]]:
    """All steps, those of loops included, and in how many loops each is."""
    for step in steps:
        yield depth, step
        if isinstance(step, RepeatStep):
            yield from steps_of(step.steps, depth + 1)


STEPS = [found for manifest in MANIFESTS for found in steps_of(manifest.steps)]
KERNELS = [step for _, step in STEPS if isinstance(step, KernelStep)]
BUFFERS = [buffer for manifest in MANIFESTS for buffer in manifest.buffers.values()]
PARAMS = [param for manifest in MANIFESTS for param in manifest.params.values()]


def words(value: Any, key: str = "") -> Iterator[str]:
    """What a manifest says but for its sources, descriptions and names of kernels."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from words(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from words(inner, key)
    elif key not in ("source", "description", "kernel"):
        yield str(value)


WORDS = "\n".join(word for tree in TREES for word in words(tree))


#: What an example alone is no place for: its README reads the output right after the call. A sequence has it, as the
#: argument of a call (examples/cells). And `rights: caller` says what is so without it.
ELSEWHERE = {"manifest.ack=device", "manifest.rights"}


@pytest.mark.parametrize("feature", sorted(set(offered(SCHEMA)) - ELSEWHERE))
def test_every_key_and_choice_of_the_schema(feature: str) -> None:
    assert feature in USED, f"no example has {feature}"


def test_the_walk_knows_the_schema() -> None:
    """What this module finds in the examples is what it looks for, so a slip of its own fails here."""
    assert USED - set(offered(SCHEMA)) == {f"dtype={name}" for name in DTYPES} & USED
    assert {
        "manifest.kaas",
        "param.default",
        "buffer.io=const",
        "repeat.repeat.until.every",
        "arg.offset",
    } <= USED


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_element_type(dtype: str) -> None:
    declared = {one.dtype.name for one in BUFFERS} | {one.dtype.name for one in PARAMS}
    assert dtype in declared or re.search(rf"\b{dtype}\(", WORDS)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_of_expressions(function: str) -> None:
    assert re.search(rf"\b{function}\(", WORDS)


@pytest.mark.parametrize("operator", ["+", "-", "*", "/", "//", "%", "**", "<="])
def test_operators_of_expressions(operator: str) -> None:
    assert re.search(rf"[\w)] {re.escape(operator)} [\w(]", WORDS)


@pytest.mark.parametrize("kind", typing.get_args(graph.Step))
def test_every_kind_of_step(kind: type) -> None:
    assert any(isinstance(step, kind) for _, step in STEPS)


@pytest.mark.parametrize("kind", typing.get_args(graph.Arg))
def test_every_kind_of_argument(kind: type) -> None:
    assert any(isinstance(arg, kind) for step in KERNELS for arg in step.args)


def is_moving(arg: Arg) -> bool:
    """Whether it is a view that is not always at the same place."""
    return isinstance(arg, BufferArg) and arg.offset is not None and arg.offset.constant is None


def most(manifest: Manifest, count: Callable[[KernelStep], object]) -> int:
    """How many different answers a manifest's kernel steps give."""
    return len({count(step) for step in manifest.kernel_steps})


#: What neither a key nor a choice tells, and whether an example has it.
FORMS = {
    "an action that is text alone": any(all(one.source.text for one in each.kernel_steps) for each in MANIFESTS),
    "several sources": any(most(each, lambda step: step.source.path) > 2 for each in MANIFESTS),
    "a source with two sets of macros": any(
        most(each, lambda step: step.source) > most(each, lambda step: step.source.path) for each in MANIFESTS
    ),
    "a header": any((ROOT / "examples").glob("*/*.cuh")),
    "an instance by type and number": any(re.search(r"<\w+, ?\d+>", step.kernel) for step in KERNELS),
    "cubins beside a source": any(step.source.cubins and not step.source.compiled_only for step in KERNELS),
    "a view that moves": any(is_moving(arg) for step in KERNELS for arg in step.args),
    "a const from a .npy": any(one.file is not None and one.file.endswith(".npy") for one in BUFFERS),
    "a const from a tensor": any(one.tensor is not None for one in BUFFERS),
    "a single value": any(one.io == "temp" and one.dimensions == () for one in BUFFERS),
    "a single value as output": any(one.io == "out" and one.dimensions == () for one in BUFFERS),
    "a loop in a loop": any(depth > 0 and isinstance(step, RepeatStep) for depth, step in STEPS),
    "a complex parameter": any(one.dtype.kind == "c" for one in PARAMS),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    assert FORMS[form]


#: What a call can say, as it stands in a command line of a README.
CALLS = {
    "a file": r"-p \w+=@\w+\.npy",
    "an object": r"-p \w+=s3://\S+\.npy",
    "a raw object": r"-p \w+='?s3://[^\s'?]+\.pcm",
    "a part of an object": r"-p \w+='s3://[^\s']+\?offset=\d+&size=\d+'",
    "a list": r"-p \w+='\[\[",
    "an input that is changed in place": r"-p (bodies)=s3://data/\1\.npy -p (velocities)=s3://data/\2\.npy",
    "an input that is changed elsewhere": r"""-p \w+='\{"from": "s3://[^"]+", "to": "s3://[^"]+"\}'""",
    "an output in the answer": r"-p \w+=inline",
    "an output as base64": r"-p \w+=base64",
    "a raw output": r"-p \w+=s3://\S+\.bin",
    "a name that is changed": r"-p audio=",
    "a freshness": r"-p freshness=always",
    "a parameter": r"-p \w+=[\d.]+",
    "a complex parameter": r"-p \w+='\[-?[\d.]+,-?[\d.]+\]'",
    "a bundle that is text": r"kaas invoke /dev/stdin .*< kaas.yaml",
    "a bundle that is a zip": r"kaas \w+ \S+\.zip",
    "cubins": r"kaas build \. --arch sm_\d\d",
}


@pytest.mark.parametrize("call", CALLS)
def test_forms_of_a_call(call: str) -> None:
    readmes = "\n".join(path.with_name("README.md").read_text("utf-8") for path in FILES)
    lines = "\n".join(line for line in readmes.splitlines() if line.startswith("    kaas "))
    assert re.search(CALLS[call], lines)
