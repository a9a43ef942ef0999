"""What the command line says: failures, progress, tables."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Iterator, Sequence

from kaas.errors import KaasError
from kaas.messages import LogLine

CALLER, USAGE, PLATFORM = 1, 2, 3

#: What takes longer than this is worth a line.
_PATIENCE_SECONDS = 2.0


class Failure(Exception):
    """What ends a command: what is wrong, where, what to do, and the exit status."""

    def __init__(
        self, message: str, *, where: str | None = None, hint: str | None = None, status: int = CALLER
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.status = status


def as_failure(error: Exception) -> Failure:
    """Any exception in the command line's words."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, KaasError):
        status = PLATFORM if error.row.blame == "platform" else CALLER
        hint = error.hint
        if error.code == "pool_unreachable":
            from kaas_cli.access import stale_address  # It needs this module.

            hint = stale_address() or hint
        return Failure(error.message, where=error.where, hint=hint, status=status)
    from kaas_local.state import StackError  # Only on the way to an error: it brings boto3 with it.

    if isinstance(error, StackError):
        return Failure(error.message, hint=error.hint, status=PLATFORM)
    if isinstance(error, OSError) and error.filename is not None:
        return Failure(f"{error.filename}: {(error.strerror or str(error)).lower()}")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        # Of files that a command names it says the name: this is what it prints to, or a scratch file.
        return Failure(
            f"cannot write: {os.strerror(error.errno).lower()}", hint="make room where its output goes, or in TMPDIR"
        )
    return Failure(
        f"{type(error).__name__}: {error}",
        hint="this is a defect of kaas: please report it with the traceback that KAAS_DEBUG=1 shows",
        status=PLATFORM,
    )


def print_failure(failure: Failure) -> None:
    """Write a failure to stderr: `error`, and `where` and `hint` where there are such."""
    lines = [f"error: {failure.message}"]
    if failure.where:
        lines.append(f"where: {failure.where}")
    if failure.hint:
        lines.append(f"hint:  {failure.hint}")
    sys.stderr.write("\n".join(lines) + "\n")


def note(text: str) -> None:
    """A line for the person, not for a pipe."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def log_lines(logs: Sequence[LogLine]) -> Iterator[str]:
    """An invocation's log for the person: what kernels printed under a heading, what KaaS says as it is."""
    indent = ""
    for one in logs:
        if one.stream == "stdout" and not indent:
            yield "printed by the kernels:"
            indent = "  "
        yield f"{indent}| {one.line}" if one.stream == "stdout" else f"{indent}{one.line}"


@contextlib.contextmanager
def patience(what: str) -> Iterator[None]:
    """Say what is waited for, if it takes long."""
    timer = threading.Timer(_PATIENCE_SECONDS, note, (f"... {what}",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in aligned columns, the first row being the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
