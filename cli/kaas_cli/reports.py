"""A report of `kaas check` as text, as JSON, and as GitHub's workflow commands (docs/check.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from kaas_cli.checking import Report
from kaas_cli.output import size, table
from kaas_cli.sizes import options_of
from kaas_pool.findings import Finding

#: The version of the JSON document.
VERSION = 1

_GITHUB_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}


def as_text(report: Report, sizes: Mapping[str, Any]) -> str:
    """One line a finding, the estimate, one line that sums up, and without errors how sizes are checked too."""
    lines = [str(finding) for finding in report.findings]
    if report.estimate is not None:
        lines += [*([""] if lines else []), _estimate(report, sizes), ""]
    lines.append(_summary(report))
    if report.unset and not report.count("error"):
        lines.append(f"sizes are not checked without {options_of(report.unset)}")
    return "\n".join(lines)


def as_json(report: Report, sizes: Mapping[str, Any]) -> str:
    """One document."""
    document = {
        "version": VERSION,
        "action": report.manifest.name if report.manifest is not None else None,
        "compilers": list(report.compilers),
        "findings": [finding.to_json() for finding in report.findings],
        "errors": report.count("error"),
        "warnings": report.count("warning"),
        "notes": report.count("note"),
        "sizes": dict(sizes),
        "estimate": report.estimate.to_json() if report.estimate is not None else None,
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def as_github(report: Report, sizes: Mapping[str, Any]) -> str:
    """One workflow command a finding, and the line that sums up."""
    return "\n".join([*(_command(finding) for finding in report.findings), _summary(report)])


FORMATS: Mapping[str, Callable[[Report, Mapping[str, Any]], str]] = {
    "text": as_text,
    "json": as_json,
    "github": as_github,
}


def _command(finding: Finding) -> str:
    properties = {
        "file": finding.file,
        "line": finding.line,
        "col": finding.column,
        "title": f"kaas {finding.rule}",
    }
    told = ",".join(f"{key}={_escaped(str(value), ':,')}" for key, value in properties.items() if value is not None)
    inside = f"{finding.path}: " if finding.path else ""
    return f"::{_GITHUB_COMMANDS[finding.severity]} {told}::{_escaped(inside + finding.text)}"


def _escaped(text: str, also: str = "") -> str:
    """GitHub's escapes: the percent sign first, then line ends, in properties also colon and comma."""
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    for character in also:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _estimate(report: Report, sizes: Mapping[str, Any]) -> str:
    found = report.estimate
    assert found is not None
    rows = [
        [f"with {', '.join(f'{name} = {value}' for name, value in sizes.items())}", "", ""],
        ["  device memory", size(found.peak_bytes), "inputs, results, copies, and temporaries at their peak"],
        ["  loaded", size(found.loaded_bytes), "from the object store, if nothing is cached"],
        ["  stored", size(found.stored_bytes), "to the object store"],
        ["  launches", str(found.launches), "of kernels; an until may end a loop earlier"],
        [
            "  moved",
            size(found.moved_bytes),
            "in device memory, estimated: each step reads once what it reads, and writes once what it writes",
        ],
    ]
    head, *rest = rows
    if found.bundled_bytes:
        rest.insert(2, ["  from the bundle", size(found.bundled_bytes), "files of the action"])
    return f"{head[0]}\n{table(rest)}"


def _summary(report: Report) -> str:
    told = [_count(report.count(severity), severity) for severity in ("error", "warning", "note")]
    counts = ", ".join(text for text in told if not text.startswith("0 ")) or "good"
    if report.manifest is None:
        return counts
    manifest = report.manifest
    compilers = " and ".join(
        "the emulated device" if name == "emulated" else "this machine's GPU" if name == "cuda" else f"{name} (NVRTC)"
        for name in report.compilers
    )
    contents = [
        _count(len(manifest.buffers), "buffer"),
        _count(len(manifest.params), "parameter"),
        f"{_count(report.kernels, 'kernel')} compiled for {compilers}",
    ]
    return f"{manifest.name}: {counts} ({', '.join(contents)})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
