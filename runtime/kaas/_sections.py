"""Access to a manifest's YAML tree, in which every refusal names file, line, path and remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from kaas._yaml import Node
from kaas.dtypes import DTYPES, shorten
from kaas.errors import AuthorError
from kaas.expressions import FUNCTIONS, MAX_TEXT, Expression
from kaas.suggest import advise

_T = TypeVar("_T")

RESERVED = frozenset({"error", "kaas", "store", "outputs", "rename", "freshness", "ack"})

#: A function takes at most 16 values, so YAML splits a call into no more items, unless calls nest.
_SPLIT_ITEMS = 64

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

_TEXTURE = "textures and surfaces need host code to set up; read the buffer through const __restrict__ pointers"
_GRID_WIDE = "its launch needs every block resident at once, which a shared device cannot promise; use two steps"
_CLUSTER = "a cluster launch ties blocks to each other's placement, which a shared device cannot promise"
_TENSOR_MAP = "tensor maps hold device addresses that the host encodes; a kernel action has no host code"
_LIBRARY = "cuBLAS, cuDNN and their like are host code; a kernel action is kernels and nothing else"
_STRUCT = "by-value structs have a layout only the compiler knows; pass a buffer, or build the struct on the device"
_DYNAMIC = "launches from the device escape the plan of memory and time; write the steps, or a repeat"

#: Keys of features left out on purpose -> the reason.
NEVER: Mapping[str, str] = {
    **dict.fromkeys(("texture", "textures", "surface", "surfaces"), _TEXTURE),
    **dict.fromkeys(("cooperative", "cooperative_launch"), _GRID_WIDE),
    **dict.fromkeys(("cluster", "cluster_dims", "clusters"), _CLUSTER),
    **dict.fromkeys(("tensor_map", "tensor_maps"), _TENSOR_MAP),
    **dict.fromkeys(("cublas", "cudnn", "cufft", "cusparse", "library", "libraries"), _LIBRARY),
    **dict.fromkeys(("struct", "structs"), _STRUCT),
    **dict.fromkeys(("dynamic_parallelism", "device_launch"), _DYNAMIC),
}


class Section:
    """One mapping of the manifest at `path`; `file` is the manifest's file name."""

    def __init__(self, node: Node, path: str, file: str, what: str) -> None:
        self.file = file
        self.path = path
        self.what = what
        self.line = node.line
        if not isinstance(node.value, dict):
            raise AuthorError(
                "manifest_invalid",
                f"{what} must be a mapping of keys to values, not {describe(node)}",
                where=self.where(),
            )
        self.entries: dict[str, Node] = node.value

    def where(self, key: str | None = None) -> str:
        """`kaas.yaml:12 graph[0].block` for a key that is there; the section's own place otherwise."""
        if key is None:
            return place(self.file, self.line, self.path)
        node = self.entries.get(key)
        path = f"{self.path}.{key}" if self.path else key
        return place(self.file, node.line if node else self.line, path)

    def check_keys(self, known: Iterable[str]) -> None:
        """Refuse every key that is not `known`, those of NEVER with the reason."""
        names = list(known)
        for key in self.entries:
            if key in names:
                continue
            if key in NEVER:
                raise AuthorError("not_supported", f"{key!r}: {NEVER[key]}", where=self.where(key))
            raise AuthorError(
                "unknown_key",
                f"{shorten(key)} is no key of {self.what}",
                where=self.where(key),
                hint=_glued(key, names) or self._cut_text(key) or advise(key, names, "known keys"),
            )

    def _cut_text(self, key: str) -> str | None:
        """Of `{description: one, two}`, in which YAML takes `two` for a key without a value."""
        names = list(self.entries)
        before = next(
            (name for name in reversed(names[: names.index(key)]) if self.entries[name].value is not None), ""
        )
        text, rest = self.entries.get(before), self.entries[key]
        if text is None or not isinstance(text.value, str) or rest.value is not None or rest.line != text.line:
            return None
        if before != "description" and " " not in key:
            return None
        return f'YAML ends a text at the comma: put all of it in quotes, {before}: "{text.value[:80]}, ..."'

    def invalid(self, key: str | None, message: str, hint: str | None = None) -> AuthorError:
        """A `manifest_invalid` at `key`."""
        return AuthorError("manifest_invalid", message, where=self.where(key), hint=hint)

    def require(self, key: str, example: str) -> Node:
        """The node at `key`; `example` shows what to write where it is missing."""
        if key not in self.entries:
            raise self.invalid(None, f"{self.what} needs {key!r}", f"for example {example}")
        return self.entries[key]

    def text(self, key: str, *, example: str, limit: int = 200) -> str:
        """A non-empty text of at most `limit` characters."""
        node = self.require(key, example)
        if not isinstance(node.value, str) or not node.value.strip():
            raise self.invalid(key, f"{key!r} must be text, not {describe(node)}", f"for example {example}")
        if len(node.value) > limit:
            raise self.invalid(key, f"{key!r} is {len(node.value)} characters long; at most {limit} are allowed")
        return node.value

    def description(self) -> str:
        """The optional free text at `description`."""
        if "description" not in self.entries or self.entries["description"].value is None:
            return ""
        return self.text("description", example="description: what it does", limit=4000).strip()

    def flag(self, key: str) -> bool:
        """An optional true or false; false if absent."""
        if key not in self.entries:
            return False
        value = self.entries[key].value
        if not isinstance(value, bool):
            raise self.invalid(key, f"{key!r} must be true or false, not {describe(self.entries[key])}")
        return value

    def named(self, key: str, what: str) -> dict[str, Node]:
        """An optional mapping whose keys are names the author gives to things; `what` is one such thing."""
        if key not in self.entries or self.entries[key].value is None:
            return {}
        section = Section(self.entries[key], self.join(key), self.file, repr(key))
        for name in section.entries:
            check_name(name, what, section.where(name))
        return section.entries

    def join(self, key: str) -> str:
        """The path of `key`."""
        return f"{self.path}.{key}" if self.path else key

    def items(self, key: str, convert: Callable[[Node, str], _T], *, example: str) -> tuple[_T, ...]:
        """A list at `key`, each item converted with its own path."""
        node = self.require(key, example)
        if not isinstance(node.value, list):
            raise self.invalid(key, f"{key!r} must be a list, not {describe(node)}", f"for example {example}")
        self._refuse_split(key, node.value)
        return tuple(convert(item, f"{self.join(key)}[{index}]") for index, item in enumerate(node.value))

    def _refuse_split(self, key: str, items: list[Node]) -> None:
        """Refuse `[f(a, b)]`, which YAML reads as the two items `f(a` and `b)`."""
        first, whole = 0, ""
        for index, item in enumerate(items):
            if whole and (index - first >= _SPLIT_ITEMS or len(whole) + len(item.text) > MAX_TEXT):
                whole = ""  # Whatever it is, it was no expression.
            if whole:
                whole += f", {item.text}"
                if _open_parentheses(whole) == 0:
                    raise AuthorError(
                        "manifest_invalid",
                        f"YAML splits {whole} at the comma into several items",
                        where=place(self.file, items[first].line, f"{self.join(key)}[{first}]"),
                        hint=f'quote it: "{whole}"',
                    )
            elif isinstance(item.value, str) and len(item.text) <= MAX_TEXT and _open_parentheses(item.text) > 0:
                first, whole = index, item.text


def _glued(key: str, known: list[str]) -> str | None:
    """Of `io:in`, which YAML takes for a key without a value."""
    name, colon, value = key.partition(":")
    return f"write a space after the colon: {name}: {value}"[:200] if colon and name in known else None


def _open_parentheses(text: str) -> int:
    return text.count("(") - text.count(")")


def place(file: str, line: int, path: str) -> str:
    """`file:line path`, without a trailing space where there is no path."""
    return f"{file}:{line} {path}" if path else f"{file}:{line}"


def describe(node: Node) -> str:
    """A value in the words of a message."""
    value = node.value
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return shorten(value)


def is_bundle_path(text: str) -> bool:
    """Whether `text` can be the path of a file inside a bundle."""
    return "\\" not in text and not any(part in ("", ".", "..") for part in text.split("/"))


def check_name(name: str, what: str, where: str) -> None:
    """Check a name the author chose; raises `manifest_invalid` or `name_reserved`."""
    if not _NAME.fullmatch(name):
        raise AuthorError(
            "manifest_invalid",
            f"{shorten(name)} cannot name a {what}",
            where=where,
            hint="a name is a letter followed by at most 63 letters, digits and underscores",
        )
    reason = None
    if name.startswith("_"):
        reason = "names with a leading underscore belong to the platform"
    elif name in RESERVED:
        reason = "calls and results use this name themselves"
    elif name in FUNCTIONS or name in DTYPES:
        reason = "expressions use it as a function"
    if reason:
        raise AuthorError(
            "name_reserved", f"{name!r} cannot name a {what}: {reason}", where=where, hint="choose another name"
        )


def read_expression(node: Node, where: str, *, plain: bool = True) -> Expression:
    """The expression at `node`; with `plain`, one without a conversion.

    Raises `manifest_invalid` where the value is neither text nor a number, else `expression_invalid`.
    """
    value = node.value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (isinstance(value, str) or (is_number and value - value == 0)):
        raise AuthorError("manifest_invalid", f"an expression is expected, not {describe(node)}", where=where)
    expression = Expression.parse(node.text, where)
    if plain and expression.dtype is not None:
        raise AuthorError(
            "expression_invalid",
            f"{expression.text!r}: a conversion has no place here",
            where=where,
            hint="conversions give arguments of kernels their type; elsewhere write the bare expression",
        )
    return expression
