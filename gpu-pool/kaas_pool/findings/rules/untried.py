"""Kernels that nothing here can look into."""

from __future__ import annotations

from collections.abc import Iterator

from kaas_pool.findings.finding import Finding, note
from kaas_pool.findings.subject import Subject
from kaas_pool.findings.words import listed


def find(subject: Subject) -> Iterator[Finding]:
    """Sources that are cubins alone, unless a device took one."""
    for source, kernels in subject.manifest.kernels.items():
        if source.compiled_only and not any(outcome.compiler == "cuda" for outcome in subject.outcomes):
            architectures = listed(architecture for architecture, _ in source.cubins)
            yield note(
                subject.manifest.place_of(source, kernels[0]),
                f"{listed(kernels)} has no source, only cubins for {architectures}",
                "it is not tried here, and its arguments cannot be compared with what it takes",
                "add source, which also lets it run on the emulated device",
            )
