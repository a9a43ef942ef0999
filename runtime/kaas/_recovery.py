"""Reading a manifest on after an error, to tell several at once.

The reader stops at the first error. Here that error is taken out of the YAML tree and the tree is read again: a
mistyped key gets the name that was meant, a step that cannot be read becomes another, a definition a neutral one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from kaas import _manifest_reader, _yaml
from kaas._yaml import Node
from kaas.errors import AuthorError
from kaas.manifest import Manifest

#: Each error costs a reading of the whole manifest.
MAX_ERRORS = 20

_STEP = re.compile(r"graph\[\d+\](?:\.repeat\.steps\[\d+\])*")
_DEFINITION = re.compile(r"(?:params|buffers)\.\w+")
_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_MEANT = re.compile(r"did you mean '(\w+)'\?")


def read_all(data: bytes | str, filename: str) -> tuple[Manifest | None, tuple[AuthorError, ...]]:
    """See Manifest.parse_all."""
    try:
        tree = _yaml.read(data, filename)
    except AuthorError as error:
        return None, (error,)
    errors: list[AuthorError] = []
    is_sound = True
    while len(errors) < MAX_ERRORS:
        read = _read(tree, filename)
        if isinstance(read, Manifest):
            return (read if is_sound else None), tuple(errors)
        path = (read.where or "").partition(" ")[2]
        if not is_sound and (not _DEFINITION.match(path) or read.code.startswith("name_")):
            break  # It may follow from a neutral definition.
        if errors and str(read) == str(errors[-1]):
            break  # It is not where it can be mended.
        errors.append(read)
        if _mend_key(tree, path, read) or _replace_step(tree, path):
            continue
        if not _neutralise(tree, path):
            break
        is_sound = False
    return None, tuple(errors)


def _read(tree: Node, filename: str) -> Manifest | AuthorError:
    try:
        return _manifest_reader.read_tree(tree, filename)
    except AuthorError as error:
        return error


def _mend_key(tree: Node, path: str, error: AuthorError) -> bool:
    """Rename a mistyped key to what was meant, or leave a surplus one out."""
    if error.code != "unknown_key":
        return False
    parent, _, key = path.rpartition(".")
    node = _find(tree, parent)
    if node is None or not isinstance(node.value, dict) or key not in node.value:
        return False
    value = node.value.pop(key)
    meant = _MEANT.search(error.hint or "")
    if meant is not None:
        node.value.setdefault(meant[1], value)
    return True


def _replace_step(tree: Node, path: str) -> bool:
    """Put a step that reads in the place of one that does not, so that the others keep their numbers."""
    found = _STEP.match(path)
    node = _find(tree, found[0]) if found is not None else None
    buffer = _writable(tree)
    if node is None or buffer is None:
        return False
    fill = {"buffer": _scalar(node, buffer), "value": _scalar(node, 0)}
    node.value = {"fill": Node(fill, node.line, node.value_line)}
    return True


def _neutralise(tree: Node, path: str) -> bool:
    """Give a parameter or a buffer a definition that reads."""
    found = _DEFINITION.match(path)
    node = _find(tree, found[0]) if found is not None else None
    if node is None:
        return False
    plain: Mapping[str, object] = {"type": "int32"} if path.startswith("params") else {"io": "temp", "dtype": "int32"}
    node.value = {key: _scalar(node, value) for key, value in plain.items()}
    if path.startswith("buffers"):
        node.value["shape"] = Node([_scalar(node, 1)], node.line, node.value_line)
    return True


def _writable(tree: Node) -> str | None:
    """A buffer that a fill can set to 0."""
    buffers = _find(tree, "buffers")
    if buffers is None or not isinstance(buffers.value, dict):
        return None
    for name, node in buffers.value.items():
        fields = node.value if isinstance(node.value, dict) else {}
        if "io" in fields and fields["io"].value != "const" and "dtype" in fields and fields["dtype"].value != "bool":
            return str(name)
    return None


def _find(tree: Node, path: str) -> Node | None:
    node = tree
    for found in _PART.finditer(path):
        key, inside = found[1] or found[2], node.value
        if found[1] is not None:
            inside = dict(enumerate(inside)) if isinstance(inside, list) else {}
            child = inside.get(int(key))
        else:
            child = inside.get(key) if isinstance(inside, dict) else None
        if child is None:
            return None
        node = child
    return node


def _scalar(near: Node, value: object) -> Node:
    return Node(value, near.line, near.value_line, str(value))
