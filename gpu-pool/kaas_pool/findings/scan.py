"""The rules: every module of `rules/`, found by looking into the folder. Pure but for that."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module

from kaas_pool.findings import rules as folder
from kaas_pool.findings.finding import Finding
from kaas_pool.findings.subject import Subject

#: What each rule's module has: `find`.
Rule = Callable[[Subject], Iterator[Finding]]


@cache
def rules() -> Mapping[str, Rule]:
    """The rules by name: `rules/idle_loop.py` is `idle-loop`."""
    names = sorted(module.name for module in pkgutil.iter_modules(folder.__path__))
    return {name.replace("_", "-"): import_module(f"{folder.__name__}.{name}").find for name in names}


def find(subject: Subject, only: Collection[str] | None = None) -> list[Finding]:
    """What all rules, or only some, find, sorted by place."""
    found = [
        finding if finding.rule else replace(finding, rule=name)
        for name, rule in rules().items()
        if only is None or name in only
        for finding in rule(subject)
    ]
    return sorted(dict.fromkeys(found), key=lambda finding: finding.order)
