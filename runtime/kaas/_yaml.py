"""A YAML reader for untrusted manifests: values with their lines, and bounds on everything.

It reads PyYAML's events and builds the tree itself, so that nesting never recurses, an alias costs what it stands
for, and a key written twice is an error. Plain scalars follow YAML 1.2's core schema: `yes`, `on` and `1_000` are
text, `010` is ten. Tags, merge keys and second documents are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from kaas._yaml_mistakes import explain
from kaas.errors import AuthorError

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
#: Values in the tree with every alias written out. A million bytes of YAML hold at most half a million without any.
MAX_VALUES = 100_000
#: Characters of those values that are short enough to be expressions, likewise: parsing them takes time.
MAX_CHARACTERS = 2 << 20
_SHORT = 1000

_INTEGER = re.compile(r"[-+]?[0-9]{1,40}|0x[0-9a-fA-F]{1,32}|0o[0-7]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | float | None] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Node:
    """One value and where it stands.

    `value` is a scalar, a list of nodes, or a dict from key texts to nodes. `line` (from 1) is the line of the key
    in a mapping, else of the value; `value_line` is always the value's own. `text` is a scalar as it was written,
    `is_block` whether it is a block scalar (`|` or `>`); `size` counts the values below, this one included, and
    `length` the characters of the short ones.
    """

    value: Any
    line: int
    value_line: int
    text: str = ""
    is_block: bool = False
    size: int = 1
    length: int = 0


@dataclass
class _Open:
    """A collection still being read."""

    node: Node
    anchor: str | None
    key: tuple[str, int] | None = None
    seen: dict[str, int] = field(default_factory=dict)


def read(data: bytes | str, filename: str) -> Node:
    """Read one YAML document; raises `manifest_invalid` with file and line."""
    text = _decode(data, filename)
    try:
        return _Reader(filename).read(text)
    except yaml.MarkedYAMLError as error:
        message, mark, hint = explain(error, text)
        place = f"{filename}:{mark.line + 1}:{mark.column + 1}" if mark else filename
        raise AuthorError("manifest_invalid", message, where=place, hint=hint) from None
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise AuthorError("manifest_invalid", f"not valid YAML: {reason}", where=filename) from None


def _decode(data: bytes | str, filename: str) -> str:
    size = len(data)
    if size > MAX_BYTES:
        raise AuthorError(
            "manifest_invalid", f"the manifest has {size} bytes; at most {MAX_BYTES} are read", where=filename
        )
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        text.encode("utf-8")
    except UnicodeError as error:
        raise AuthorError(
            "manifest_invalid",
            f"the manifest is not UTF-8 text (byte {getattr(error, 'start', 0)})",
            where=filename,
        ) from None
    return text


class _Reader:
    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.stack: list[_Open] = []
        self.anchors: dict[str, Node | None] = {}
        self.root: Node | None = None

    def read(self, text: str) -> Node:
        """The document's root."""
        documents = 0
        for event in yaml.parse(text, Loader=_LOADER):
            line = event.start_mark.line + 1 if event.start_mark else 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._error("a second document starts here; a manifest is one document", line)
            elif isinstance(event, yaml.ScalarEvent):
                self._refuse_tag(event.tag, line)
                self._scalar(event, line)
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                self._refuse_tag(event.tag, line)
                self._start({} if isinstance(event, yaml.MappingStartEvent) else [], event.anchor, line)
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                self._end()
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event.anchor, line)
        if self.root is None:
            raise self._error("the manifest is empty", 1)
        return self.root

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        text: str = event.value
        if self._take_as_key(text, line):
            return
        is_plain = event.implicit[0]
        node = Node(_plain(text) if is_plain else text, line, line, text, is_block=event.style in ("|", ">"))
        node.length = len(text) if len(text) <= _SHORT else 0
        self._remember(event.anchor, node)
        self._add(node)

    def _start(self, value: Any, anchor: str | None, line: int) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise self._error(f"nests deeper than {MAX_DEPTH} levels", line)
        if self._expects_key():
            raise self._error("a key must be text, not a list or a mapping", line)
        if anchor is not None:
            self.anchors[anchor] = None
        self.stack.append(_Open(Node(value, line, line), anchor))

    def _end(self) -> None:
        done = self.stack.pop()
        self._remember(done.anchor, done.node)
        self._add(done.node)

    def _alias(self, anchor: str | None, line: int) -> None:
        target = self.anchors.get(anchor or "")
        if target is None:
            what = "stands inside what it names" if anchor in self.anchors else "names no anchor"
            raise self._error(f"the alias *{anchor} {what}", line, "quote a text that begins with *")
        if self._expects_key():
            raise self._error("a key must be text, not an alias", line)
        self._add(replace(target, line=line))

    def _expects_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].node.value, dict) and self.stack[-1].key is None

    def _take_as_key(self, text: str, line: int) -> bool:
        if not self._expects_key():
            return False
        parent = self.stack[-1]
        if text == "<<":
            raise self._error("merge keys (<<) are not part of a manifest", line)
        if text in parent.seen:
            raise self._error(
                f"the key {text[:80]!r} stands twice in one mapping, first in line {parent.seen[text]}",
                line,
                "remove one of them, or rename it",
            )
        parent.seen[text] = line
        parent.key = (text, line)
        return True

    def _add(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        parent.node.size += node.size
        parent.node.length += node.length
        if parent.node.size > MAX_VALUES:
            raise self._error(f"holds more than {MAX_VALUES} values, aliases written out", node.line)
        if parent.node.length > MAX_CHARACTERS:
            raise self._error(f"holds more than {MAX_CHARACTERS} characters, aliases written out", node.line)
        if isinstance(parent.node.value, list):
            parent.node.value.append(node)
        elif parent.key is not None:
            key, line = parent.key
            node.line = line
            parent.node.value[key] = node
            parent.key = None

    def _remember(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self.anchors[anchor] = node

    def _refuse_tag(self, tag: str | None, line: int) -> None:
        if tag is not None and tag != "!":
            raise self._error(f"YAML tags such as {tag[:80]!r} are not part of a manifest", line)

    def _error(self, message: str, line: int, hint: str | None = None) -> AuthorError:
        return AuthorError("manifest_invalid", message, where=f"{self.filename}:{line}", hint=hint)


def _plain(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if _FLOAT.fullmatch(text) and abs(number := float(text)) != float("inf"):
        return number
    return text
