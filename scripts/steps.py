"""Run the steps of a setup: silent when quick, a line with the time when not, the log's end on failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

#: A step that takes longer than this, in seconds, gets a line of its own.
QUIET_S = 2.0
#: A terminal's line is rewritten every so often; anything else gets a line after the second, then every third.
TERMINAL_S, LOG_FIRST_S, LOG_S = 1.0, 10.0, 30.0
#: Lines of the log that are shown when a step fails.
TAIL_LINES = 25


class StepFailedError(Exception):
    """A step did not succeed. The text says what happened and what to do."""


def say(text: str) -> None:
    """Print one line of progress. It goes to stderr: stdout is for results."""
    print(text, file=sys.stderr, flush=True)


def run(
    title: str,
    command: Sequence[str | Path],
    log: Path,
    *,
    advice: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a command, its output appended to a log.

    title: the step in a few words, as the user reads it.
    advice: what to do when it fails.
    Raises StepFailedError, with the end of the log, when the command does not start or does not exit with 0.
    """
    started = time.monotonic()
    with log.open("ab") as output:
        beginning = output.tell()
        try:
            # A session of its own: an interrupt reaches this process alone, which then ends the whole step.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as error:
            raise StepFailedError(f"{title} failed: {command[0]} does not start ({error.strerror}).") from error
        try:
            status = _wait(process, title, started)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    elapsed = time.monotonic() - started
    if status != 0:
        tail = _tail(log, beginning)
        raise StepFailedError(f"{_rewind()}{title} failed after {elapsed:.0f} s. The end of {log}:\n{tail}\n{advice}")
    if elapsed > QUIET_S:
        say(f"{_rewind()}  {title}: {elapsed:.0f} s")


def _wait(process: subprocess.Popen[bytes], title: str, started: float) -> int:
    terminal = sys.stderr.isatty()
    pause = QUIET_S if terminal else LOG_FIRST_S
    while True:
        try:
            return process.wait(timeout=pause)
        except subprocess.TimeoutExpired:
            elapsed = time.monotonic() - started
        if terminal:
            print(f"{_rewind()}  {title} ... {elapsed:.0f} s", end="", file=sys.stderr, flush=True)
            pause = TERMINAL_S
        else:
            say(f"  {title} ... {elapsed:.0f} s")
            pause = LOG_S


def _tail(log: Path, beginning: int) -> str:
    with log.open("rb") as text:
        text.seek(beginning)
        lines = text.read().decode(errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])


def _rewind() -> str:
    """What puts a terminal's cursor at the start of an emptied line."""
    return "\r\x1b[K" if sys.stderr.isatty() else ""
