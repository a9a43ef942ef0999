"""The emulator's errors."""

from __future__ import annotations


class EmulatorError(RuntimeError):
    """The emulated driver cannot be built, found or loaded; the message says why and what to do."""


class CompileFailed(Exception):
    """The host's compiler refuses a kernel source.

    ``log`` holds the compiler's lines, on the user's files, with paths relative to the work directory.
    """

    def __init__(self, log: str) -> None:
        super().__init__(log)
        self.log = log
