"""What the readers of all kinds of steps share: expressions with their scope, and buffers by name."""

from __future__ import annotations

from collections.abc import Callable

from kaas._names import Scope
from kaas._sections import Section, place, read_expression
from kaas._yaml import Node
from kaas.errors import AuthorError, CallerError
from kaas.expressions import Expression
from kaas.manifest import Buffer
from kaas.suggest import advise


class StepReader:
    """Reads parts of the steps of one manifest."""

    def __init__(self, filename: str, scope: Scope) -> None:
        self.filename = filename
        self.scope = scope

    def expression(self, names: frozenset[str], *, least: int | None = None) -> Callable[[Node, str], Expression]:
        """A converter for `Section.items`: an expression over `names`.

        With `least`, one that must come out as a whole number from there on, which is checked if it is constant.
        """

        def read(node: Node, path: str) -> Expression:
            expression = read_expression(node, place(self.filename, node.line, path))
            self.scope.check(expression, names)
            if least is not None and expression.constant is not None:
                _check_whole(expression, least)
            return expression

        return read

    def expression_at(
        self, section: Section, key: str, names: frozenset[str], *, least: int | None = None
    ) -> Expression:
        """The expression at `key`, which is there; as `expression`."""
        return self.expression(names, least=least)(section.entries[key], section.join(key))

    def buffer(self, section: Section, key: str, *, written: bool = False) -> Buffer:
        """The buffer whose name stands at `key`; `written` if a const must not."""
        name = section.text(key, example=f"{key}: x")
        return self.find(section, key, name, section.where(key), written=written)

    def find(self, section: Section, key: str, name: str, where: str, *, written: bool = False) -> Buffer:
        """The buffer `name`; raises `name_unknown`, or `manifest_invalid` for a const that would be `written`."""
        buffer = self.scope.buffers.get(name)
        if buffer is None:
            raise AuthorError(
                "name_unknown",
                f"there is no buffer {name[:80]!r}",
                where=where,
                hint=advise(name, self.scope.buffers, "buffers"),
            )
        if written and buffer.io == "const":
            raise section.invalid(
                key, f"{name!r} is const: it is never written, swapped or cleared", "declare io: in or temp"
            )
        return buffer


def _check_whole(expression: Expression, least: int) -> None:
    try:
        expression.integer({}, least=least)
    except CallerError as error:
        raise AuthorError("manifest_invalid", error.message, where=expression.where) from None


def check_value(expression: Expression) -> None:
    """Refuse a constant with a conversion that it does not survive."""
    if expression.constant is not None:
        try:
            expression.evaluate({})
        except CallerError as error:
            raise AuthorError("manifest_invalid", error.message, where=expression.where) from None
