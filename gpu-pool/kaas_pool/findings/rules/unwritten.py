"""Results that no step writes, and `inout` buffers that come back as they went in."""

from __future__ import annotations

from collections.abc import Iterator

from kaas_pool.findings.finding import Finding, error, warning
from kaas_pool.findings.subject import Subject


def find(subject: Subject) -> Iterator[Finding]:
    """Outputs without contents of their own."""
    buffers = subject.manifest.buffers
    for name in subject.history.unwritten:
        yield error(
            buffers[name].where,
            f"no step writes the output {name}",
            "what is stored would be whatever lay in the device's memory",
            f"give {name} to a kernel that writes it (a pointer that is not const), or remove it",
        )
    for name in subject.history.untouched:
        if buffers[name].io == "inout":
            yield warning(
                buffers[name].where,
                f"no step writes {name}, which is inout",
                "the object would be stored again as it was read",
                "declare io: in, or give it to a kernel that writes it",
            )
        else:
            yield warning(
                buffers[name].where,
                f"no step writes the output {name}",
                "only zeros would be stored",
                f"give {name} to a kernel that writes it, or remove it",
            )
