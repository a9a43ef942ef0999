"""Which names a manifest defines, and which of them an expression may use where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Set

from kaas._sections import check_name
from kaas.errors import AuthorError
from kaas.expressions import Expression
from kaas.manifest import Buffer, Param
from kaas.suggest import suggest


def check_unique(params: Mapping[str, Param], buffers: Mapping[str, Buffer], let_places: Mapping[str, str]) -> None:
    """Refuse one name for two things; raises `name_duplicate`."""
    seen: dict[str, str] = {}
    for places in (
        {name: param.where for name, param in params.items()},
        {name: buffer.where for name, buffer in buffers.items()},
        let_places,
    ):
        for name, where in places.items():
            if name in seen:
                raise duplicate(name, where, seen[name])
            seen[name] = where


def duplicate(name: str, where: str, first: str) -> AuthorError:
    """The error for a name that is defined again."""
    return AuthorError(
        "name_duplicate",
        f"{name!r} is already defined at {first}",
        where=where,
        hint="buffers, parameters, let and loop indices share one set of names",
    )


class Scope:
    """The names of one manifest. `symbols` are those that the shapes of inputs solve."""

    def __init__(
        self, params: Mapping[str, Param], buffers: Mapping[str, Buffer], let: Mapping[str, Expression]
    ) -> None:
        self.params = params
        self.buffers = buffers
        self.let = let
        self.symbols = tuple(
            dict.fromkeys(
                dimension
                for buffer in buffers.values()
                if buffer.is_read
                for dimension in buffer.dimensions
                if isinstance(dimension, str)
                and dimension not in params
                and dimension not in let
                and dimension not in buffers
            )
        )
        self._numbers = {name for name, param in params.items() if param.dtype.kind != "c"}
        self.values = frozenset(self._numbers | set(self.symbols) | set(let))

    def check_definitions(self) -> None:
        """Check what `let` and shapes use; raises `name_unknown`, or `name_reserved` for a symbol."""
        defined = self._numbers | set(self.symbols)
        for name, expression in self.let.items():
            if not expression.names <= defined:
                self._refuse_circle(name)
            self.check(expression, defined)
            defined.add(name)
        for buffer in self.buffers.values():
            for expression in buffer.shape:
                self.check(expression, self.values)
                if expression.is_name:
                    check_name(expression.text.strip(), "symbol", expression.where)

    def _refuse_circle(self, name: str) -> None:
        """Refuse a line of `let` that needs its own value."""
        paths = [[name]]
        seen = {name}
        while paths:
            path = paths.pop()
            for needed in sorted(self.let[path[-1]].names):
                if needed == name:
                    raise AuthorError(
                        "name_unknown",
                        f"{name!r} needs its own value: {' needs '.join([*path, name])}",
                        where=self.let[name].where,
                        hint="let one of them come from parameters and symbols alone",
                    )
                if needed in self.let and needed not in seen:
                    seen.add(needed)
                    paths.append([*path, needed])

    def check(self, expression: Expression, allowed: Set[str]) -> None:
        """Refuse names outside `allowed`; raises `name_unknown` with what the name is instead."""
        missing = sorted(expression.names - allowed)
        if missing:
            message, hint = self._explain(missing[0], allowed)
            if not expression.is_name:
                message = f"{expression.text!r}: {message}"
            raise AuthorError("name_unknown", message, where=expression.where, hint=hint)

    def _explain(self, name: str, allowed: Set[str]) -> tuple[str, str | None]:
        if name in self.buffers:
            return (
                f"{name!r} is a buffer, and an expression cannot look into one",
                "sizes do not depend on data; use the symbols of its shape",
            )
        if name in self.params:
            return f"{name!r} is a complex parameter; expressions compute with real numbers only", None
        if name in self.let:
            return f"{name!r} is defined by a later line of let", "move it up"
        only_output = [
            buffer.name for buffer in self.buffers.values() if not buffer.is_read and name in buffer.dimensions
        ]
        if only_output:
            return (
                f"nothing gives {name!r} a value: only {', '.join(only_output)} has it as a dimension, and no input",
                f"make {name} a parameter, define it in let, or give an input that dimension",
            )
        return (
            f"{name!r} is not defined",
            suggest(name, allowed) or f"add {name} to params or let, or give an input a dimension of that name",
        )
