"""Views that begin beyond their buffer, or between its elements."""

from __future__ import annotations

from collections.abc import Iterator

from kaas.graph import BufferArg
from kaas_pool.findings.finding import Finding, error, warning
from kaas_pool.findings.subject import Subject, whole


def find(subject: Subject) -> Iterator[Finding]:
    """One finding a view, wherever its offset can be evaluated."""
    for step, loops in subject.launches:
        for at, arg in enumerate(step.args):
            if not isinstance(arg, BufferArg) or arg.offset is None:
                continue
            where, buffer = step.place(f"args[{at}]"), subject.manifest.buffers[arg.buffer]
            size = subject.bytes_of(arg.buffer)
            for names in subject.environments(loops):
                offset = whole(arg.offset, names)
                if offset is None:
                    continue
                given = subject.given([arg.offset], names)
                beginning = f"the view of {arg.buffer} begins at byte {offset}{given}"
                if size is not None and offset > 0 and offset >= size:
                    yield error(
                        where,
                        f"{beginning}, and {arg.buffer} has {size}",
                        f"{step.kernel} would read or write what is not its own",
                        f"offsets count bytes, not elements; the last element begins at byte "
                        f"{max(size - buffer.dtype.itemsize, 0)}",
                    )
                    break
                if offset % buffer.dtype.itemsize:
                    yield warning(
                        where,
                        f"{beginning}, between two elements of {buffer.dtype.itemsize} bytes",
                        "a device faults on a load that is not aligned",
                        f"offsets count bytes: multiply the element's number by {buffer.dtype.itemsize}",
                    )
                    break
