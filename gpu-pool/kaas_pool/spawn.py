"""Starting the pool's processes: a command of this Python, a link as descriptor 3, and no life after its parent."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from kaas_pool.sandbox.kernel import PR_SET_PDEATHSIG, prctl

#: The child's end of its link (docs/contracts.md, "Frames").
LINK = 3

_PR_SET_NAME = 15

#: Run by `python -c`, with which the current folder would be the first to import from: it is taken out before that.
_LAUNCH = "import sys; sys.path[:] = [p for p in sys.path if p]; from kaas_pool.spawn import launch; launch()"

#: What a child needs of its parent's environment; whatever else is there (tokens, keys) does not reach it.
_ENVIRONMENT = frozenset(
    {"HOME", "KAAS_CACHE_DIR", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH", "TZ", "XDG_CACHE_HOME"}
    | {"SSL_CERT_DIR", "SSL_CERT_FILE"}
)
_ENVIRONMENT_PREFIXES = ("CUDA_", "KAAS_EMULATOR_", "LC_", "NVIDIA_")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child: an allow-list of this process's, and `extra`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIXES)
    }
    return kept | dict(extra or {})


@dataclass(frozen=True)
class Command:
    """`python -m MODULE ARGUMENTS`, its whole environment, and a command that starts it (bubblewrap) or nothing."""

    module: str
    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    prefix: tuple[str, ...] = ()


def spawn(command: Command, link: int | None = None) -> int:
    """Start a command in a process group of its own and return its process id.

    `link` becomes descriptor 3; standard input is empty, standard output and error are this process's. The child is
    killed when the thread that called this ends, so that nothing outlives a killed parent. Raises OSError.
    """
    # Under a prefix the parent that the child sees is another, which has its own way to die with this process.
    parent = "0" if command.prefix else str(os.getpid())
    words = [*command.prefix, sys.executable, "-c", _LAUNCH, parent, command.module, *command.arguments]
    actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]]
    actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    if link is not None:
        actions.append((os.POSIX_SPAWN_DUP2, link, LINK))
    # Python ignores these two, and an ignored signal stays ignored over exec.
    defaults = [signal.SIGPIPE, signal.SIGXFSZ]
    return os.posix_spawn(
        words[0], words, dict(command.environ), file_actions=actions, setpgroup=0, setsigmask=(), setsigdef=defaults
    )


def launch() -> None:
    """The child's first steps: tie its life to its parent's, take its name, become its module."""
    parent, module, *arguments = sys.argv[1:]
    die_with_parent(int(parent), signal.SIGKILL)
    prctl(_PR_SET_NAME, b"kaas-" + module.rpartition(".")[2].encode()[:10])
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def die_with_parent(parent: int, with_signal: signal.Signals) -> None:
    """Have the kernel signal this process when its parent ends; exits if that is so already. 0: no parent to watch."""
    if parent == 0:
        return
    prctl(PR_SET_PDEATHSIG, int(with_signal))
    if os.getppid() != parent:
        os._exit(128 + with_signal)


def kill_group(pid: int) -> None:
    """SIGKILL a child and all that it started in its process group; one that has ended already is left alone."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
