"""Children that do not outlive their parent, however it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

#: Asks the kernel for SIGKILL at the parent's end (PR_SET_PDEATHSIG is 1, SIGKILL 9), and becomes the command.
#: The parent may have died before that: then this process has another one by now.
_TIE = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
os.getppid() == int(sys.argv[1]) or sys.exit(137)
os.execv(sys.argv[2], sys.argv[2:])
"""


def tied(command: Sequence[str]) -> list[str]:
    """The command line that runs `command` (an absolute path first) until this process's calling thread ends."""
    return [sys.executable, "-I", "-S", "-c", _TIE, str(os.getpid()), *command]
