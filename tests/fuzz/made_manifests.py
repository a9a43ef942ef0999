"""Manifests from a grammar: mostly good, of any shape, in several ways of writing YAML, and with a few lies."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from expression_cases import TYPES
from hypothesis import strategies as st
from manifest_cases import FULL, SAXPY

ROOT = Path(__file__).parents[2]

#: Real manifests, to be damaged.
SEEDS = [SAXPY, FULL, *(path.read_text() for path in sorted(ROOT.glob("examples/*/kaas.yaml")))]

_NUMERIC = TYPES[1:12]
_SYMBOLS = ["n", "m", "rows"]
_KERNEL = 'extern "C" __global__ void step(const float *x, float *y, int n) {}\n'


class _Names:
    """What has been defined so far, and whether lies may be told about it."""

    def __init__(self, lies: bool) -> None:
        self.lies = lies
        self.params: dict[str, str] = {}
        self.buffers: dict[str, dict[str, Any]] = {}
        self.symbols: list[str] = []
        self.indices: list[str] = []

    @property
    def values(self) -> list[str]:
        """What expressions may use."""
        real = [name for name, kind in self.params.items() if not kind.startswith("complex")]
        return [*real, *self.symbols, *self.indices]


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    """A manifest as a tree; three of four are meant to be good."""
    names = _Names(draw(st.integers(0, 3)) == 3)
    tree: dict[str, Any] = {"kaas": 1, "name": draw(st.sampled_from(["made", "a b", "x@1.0-2"]))}
    params = {f"p{at}": _param(draw, names) for at in range(draw(st.integers(0, 3)))}
    names.params = {name: param["type"] for name, param in params.items()}
    count = draw(st.integers(1, 5))
    buffers: dict[str, Any] = {}
    for at in range(count):
        buffers[f"b{at}"] = _buffer(draw, names, is_first=at == 0)
        names.buffers = buffers
    let: dict[str, str] = {}
    for at in range(draw(st.integers(0, 2))):
        let[f"l{at}"] = _expression(draw, names)
        names.symbols.append(f"l{at}")
    if params:
        tree["params"] = params
    tree["buffers"] = buffers
    if let:
        tree["let"] = let
    tree["graph"] = _steps(draw, names, 0)
    if draw(st.integers(0, 4)) == 0:
        targets = [*params, *buffers] if names.lies else ["b0", *params]
        tree["rename"] = dict(zip(("image", "factor"), draw(st.permutations(targets)), strict=False))
    if draw(st.integers(0, 4)) == 0:
        wrong = ["max_age=0", "never"] if names.lies else []
        tree["freshness"] = draw(st.sampled_from(["always", "pinned", "max_age=2.5", *wrong]))
    if draw(st.integers(0, 4)) == 0:
        tree["events"] = {"input": draw(st.sampled_from([*params, *buffers, "none"] if names.lies else ["b0"]))}
    return tree


def _param(draw: st.DrawFn, names: _Names) -> dict[str, Any]:
    kind = draw(st.sampled_from(TYPES))
    param: dict[str, Any] = {"type": kind}
    if draw(st.booleans()):
        right: Any = {"b": True, "c": [1, -1.5]}.get(kind[0], 1)
        wrong = [0, "nan", 300, -1, 1e39, [1]] if names.lies else []
        param["default"] = draw(st.sampled_from([right, *wrong]))
    return param


def _buffer(draw: st.DrawFn, names: _Names, *, is_first: bool) -> dict[str, Any]:
    io = "in" if is_first else draw(st.sampled_from(["in", "out", "out", "inout", "temp", "const"]))
    shape: list[Any] = []
    for _ in range(draw(st.integers(0, 3))):
        if io in ("in", "inout", "const"):
            extent = draw(st.sampled_from([*_SYMBOLS, 1, 4]))
            if extent in _SYMBOLS and extent not in names.symbols:
                names.symbols.append(extent)
        else:
            extent = draw(st.sampled_from([*names.values, 3])) if draw(st.booleans()) else _expression(draw, names)
        shape.append(extent)
    buffer: dict[str, Any] = {"io": io, "dtype": draw(st.sampled_from(["float32", *TYPES])), "shape": shape}
    if io in ("out", "temp") and draw(st.booleans()):
        buffer["zero"] = draw(st.booleans())
    if io == "const" and draw(st.booleans()):
        buffer["from"] = draw(st.sampled_from(["s3://data/w.npy", "s3://data/m.safetensors#w", "w.npy"]))
    if io in ("in", "inout") and draw(st.integers(0, 3)) == 0:
        buffer["freshness"] = draw(st.sampled_from(["always", "max_age=1", "pinned"]))
    return buffer


def _expression(draw: st.DrawFn, names: _Names) -> str:
    leaf = st.sampled_from([*names.values, "1", "2", "256"])
    one, two = draw(leaf), draw(leaf)
    forms = ["{0}", "{0} + {1}", "{0} * {1}", "max({0}, {1})", "ceil_div({0}, 256)", "({0} + 1) // 2"]
    wrong = ["{0} - {1}", "2 ** {0}", "b0 + {0}", "{0} / {1}", "{0} //"] if names.lies else []
    return draw(st.sampled_from([*forms, *wrong])).format(one, two)


def _steps(draw: st.DrawFn, names: _Names, depth: int) -> list[Any]:
    return [_step(draw, names, depth) for _ in range(draw(st.integers(1, 3 if depth == 0 else 2)))]


def _step(draw: st.DrawFn, names: _Names, depth: int) -> dict[str, Any]:
    written = [name for name, buffer in names.buffers.items() if buffer["io"] != "const"]
    kind = draw(st.sampled_from(["kernel", "kernel", "fill", "copy", *(["repeat"] if depth < 2 else [])]))
    if kind == "fill":
        buffer = draw(st.sampled_from(written))
        good: list[Any] = [True] if names.buffers[buffer]["dtype"] == "bool" else [0, 1, _expression(draw, names)]
        value = draw(st.sampled_from([*good, *([True, "nan", -1] if names.lies else [])]))
        return {"fill": {"buffer": buffer, "value": value}}
    pair = _pair(draw, names, written)
    if kind == "copy" and pair is not None:
        return {"copy": dict(zip(("from", "to"), pair, strict=True))}
    if kind == "repeat":
        return {"repeat": _repeat(draw, names, pair, depth)}
    return _kernel(draw, names)


def _pair(draw: st.DrawFn, names: _Names, written: list[str]) -> list[str] | None:
    """Two buffers that may be copied and swapped, if there are such."""
    if names.lies:
        return draw(st.lists(st.sampled_from(sorted(names.buffers)), min_size=2, max_size=2))
    pairs = [
        [one, other]
        for one in written
        for other in written
        if one != other and all(names.buffers[one][key] == names.buffers[other][key] for key in ("dtype", "shape"))
    ]
    return draw(st.sampled_from(pairs)) if pairs else None


def _repeat(draw: st.DrawFn, names: _Names, pair: list[str] | None, depth: int) -> dict[str, Any]:
    loop: dict[str, Any] = {"times": draw(st.sampled_from([3, _expression(draw, names)]))}
    index = f"i{depth}"
    if draw(st.booleans()):
        loop["as"] = index
    if pair is not None and draw(st.booleans()):
        loop["swap"] = pair
    looked_at = [name for name, one in names.buffers.items() if names.lies or one["dtype"] in _NUMERIC]
    if draw(st.booleans()) and looked_at:
        loop["until"] = {"buffer": draw(st.sampled_from(looked_at)), "below": _expression(draw, names)}
        if draw(st.booleans()):
            loop["until"]["every"] = draw(st.integers(0 if names.lies else 1, 5))
    if "as" in loop:
        names.indices.append(index)
    loop["steps"] = _steps(draw, names, depth + 1)
    if "as" in loop:
        names.indices.pop()
    return loop


def _kernel(draw: st.DrawFn, names: _Names) -> dict[str, Any]:
    step: dict[str, Any] = {"kernel": draw(st.sampled_from(["step", "ns::step<float, 2>", "_Z4stepPf"]))}
    step["source"] = draw(st.sampled_from([_KERNEL, "src/step.cu"]))
    extents = [_expression(draw, names) for _ in range(draw(st.integers(1, 4 if names.lies else 3)))]
    step[draw(st.sampled_from(["threads", "grid"]))] = extents
    step["block"] = draw(st.sampled_from([[256], [16, 16], [8, 8, 8], *([["n"], [2048]] if names.lies else [])]))
    args: list[Any] = []
    pointed: list[str] = []
    for _ in range(draw(st.integers(0, 4))):
        form = draw(st.sampled_from(["buffer", "view", "param", "value", "null"]))
        if form in ("buffer", "view"):
            name = draw(st.sampled_from(sorted(names.buffers)))
            pointed.append(name)
            args.append(name if form == "buffer" else {"buffer": name, "offset": _expression(draw, names)})
        elif form == "param" and names.params:
            args.append(draw(st.sampled_from(sorted(names.params))))
        elif form == "value":
            args.append(f"{draw(st.sampled_from(_NUMERIC))}({_expression(draw, names)})")
        else:
            args.append(None)
    step["args"] = args
    if draw(st.booleans()) and pointed:
        step["reads"] = sorted(set(pointed))
    if draw(st.integers(0, 4)) == 0:
        step["defines"] = {"TILE": draw(st.sampled_from([16, True, "a b", 1.5]))}
    if draw(st.integers(0, 4)) == 0:
        step["shared"] = _expression(draw, names)
    return step


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Such a tree as YAML: in block or flow style, or as JSON; perhaps with other line breaks."""
    tree = draw(trees())
    if draw(st.integers(0, 4)) == 0:
        return json.dumps(tree, indent=draw(st.sampled_from([None, 2])))
    flow, width = draw(st.sampled_from([False, True, None])), draw(st.sampled_from([40, 120]))
    text: str = yaml.safe_dump(tree, sort_keys=False, default_flow_style=flow, width=width)
    if draw(st.integers(0, 5)) == 0:
        text = f"# \u00e9 comment\n---\n{text}...\n"
    if draw(st.integers(0, 5)) == 0:
        text = text.replace("\n", draw(st.sampled_from(["\r\n", "\r", "\u2028"])))
    return text


_TOKENS = [
    *(
        "{",
        "}",
        "[",
        "]",
        ",",
        ": ",
        "- ",
        "\n",
        "  ",
        "\t",
        "#",
        "|",
        ">",
        "&a ",
        "*a",
        "<<: ",
        "!!int ",
        "? ",
        "'",
        '"',
    ),
    *("---\n", "\x00", "\ufeff", "\u2028", "\U0001f600", "9" * 50),
]
_WORDS = [
    *("n", "x", "y", "a", "0", "-1", "1.5", "null", "~", "true", ".nan", "1e999", "0x", "in", "out", "const", "temp"),
    *(
        "s3://b/k",
        "int32(n)",
        "float32",
        "complex64",
        "kernel",
        "buffer",
        "steps",
        "fill",
        "repeat",
        "zero",
        "io",
        "[]",
        "{}",
    ),
]
_WORD = re.compile(r"[\w.]+")


@st.composite
def damaged_texts(draw: st.DrawFn) -> str:
    """A real manifest or a made one with words exchanged, lines moved, or signs put in."""
    text = draw(st.sampled_from(SEEDS) | texts())
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["word", "word", "word", "sign", "cut", "line"]))
        if kind == "word":
            if words := list(_WORD.finditer(text)):
                word = draw(st.sampled_from(words))
                text = text[: word.start()] + draw(st.sampled_from(_WORDS)) + text[word.end() :]
        elif kind == "sign":
            at = draw(st.integers(0, len(text)))
            text = text[:at] + draw(st.sampled_from(_TOKENS)) + text[at + draw(st.integers(0, 6)) :]
        elif kind == "cut":
            first = draw(st.integers(0, len(text)))
            text = text[:first] + text[first + draw(st.integers(0, 80)) :]
        else:
            lines = text.split("\n")
            line = draw(st.sampled_from(lines))
            to = draw(st.integers(0, len(lines)))
            text = "\n".join([*lines[:to], " " * draw(st.integers(0, 4)) + line, *lines[to:]])
    return text
