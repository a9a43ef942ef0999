"""Putting the walls up around the calling process, and saying which of them hold."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kaas.errors import PlatformError
from kaas_pool.sandbox import bubblewrap, landlock, policy, seccomp
from kaas_pool.sandbox.kernel import CLONE_NEWNET, PR_SET_NO_NEW_PRIVS, drop_capabilities, prctl, unshare

#: When the machine runs out of memory, who runs other people's code goes before who keeps the pool (which has 0).
_OOM_SCORE = "500"


@dataclass(frozen=True)
class Walls:
    """What confines a process; `landlock` is its version, 0 for none. A network namespace is one with nothing in it."""

    landlock: int = 0
    bubblewrap: bool = False
    seccomp: bool = False
    network_namespace: bool = False

    @property
    def holds_files(self) -> bool:
        """Whether the machine's files are out of reach: the least that CUDA sources are run with."""
        return self.landlock > 0 or self.bubblewrap

    @property
    def holds_network(self) -> bool:
        """Whether no connection can be made."""
        return self.seccomp or self.network_namespace or self.bubblewrap

    def __str__(self) -> str:
        """One line for people: `landlock 7, seccomp, no network`."""
        parts = [f"landlock {self.landlock}"] if self.landlock else []
        parts += ["bubblewrap"] if self.bubblewrap else []
        parts += ["seccomp"] if self.seccomp else []
        parts += ["no network" if self.holds_network else "NETWORK REACHABLE"]
        return ", ".join(parts) if self.holds_files else ", ".join(["NO WALL AROUND FILES", *parts])

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self)


def confine_executor(
    device: policy.DeviceKind,
    *,
    readable: Iterable[Path] = (),
    scratch: Path | None = None,
    allow_unsandboxed: bool = False,
) -> Walls:
    """Confine this process to running kernels. Call once, before threads and contexts exist; it cannot be undone.

    It keeps reading shared libraries, Python's modules, `readable`, and what the device's driver needs; writing only
    `scratch`; descriptors that are open; making threads, but no processes. Raises `sandbox_unavailable` where files
    cannot be walled off, unless `allow_unsandboxed`.
    """
    return _confine(policy.executor(device, readable, scratch), allow_unsandboxed)


def confine_compiler(
    work: Path,
    *,
    readable: Iterable[Path] = (),
    limits: policy.Limits = policy.COMPILER_LIMITS,
    allow_unsandboxed: bool = False,
) -> Walls:
    """Confine this process to compiling in `work`, reading the host's compiler and `readable`; as `confine_executor`.

    Python's own modules are out of reach from then on: import before.
    """
    return _confine(policy.compiler(readable, work, limits), allow_unsandboxed)


def describe(device: policy.DeviceKind) -> Walls:
    """The walls that hold on this machine, found by a child that puts them up around itself.

    Raises `sandbox_unavailable` where it cannot: a container may hide part of what its kernel has.
    """
    with tempfile.TemporaryDirectory(prefix="kaas-walls-") as scratch:
        prefix = bubblewrap.prefix(policy.executor(device, (), Path(scratch)).rules)
        environ = dict([*os.environ.items(), bubblewrap.MARK]) if prefix else None
        command = [*prefix, sys.executable, "-m", "kaas_pool.sandbox", device, scratch]
        child = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=scratch,
            env=environ,
        )
    if child.returncode != 0:
        last = child.stderr.strip().splitlines()[-1:] or [f"status {child.returncode}"]
        raise PlatformError("sandbox_unavailable", f"the walls do not hold here: {last[0]}")
    return Walls(**json.loads(child.stdout))


def _confine(wanted: policy.Policy, allow_unsandboxed: bool) -> Walls:
    walls = Walls(landlock=landlock.version(), bubblewrap=bubblewrap.inside(), seccomp=seccomp.available())
    if not walls.holds_files and not allow_unsandboxed:
        raise PlatformError(
            "sandbox_unavailable",
            "neither Landlock nor bubblewrap can be had here, so CUDA sources are refused",
            hint="use a kernel with Landlock (5.13 or newer, CONFIG_SECURITY_LANDLOCK, lsm=landlock,...) or install "
            "bubblewrap; --allow-unsandboxed runs them unconfined, for sources that you trust",
        )
    _limit(wanted)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    network_namespace = _leave_network()
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if walls.landlock:
        landlock.restrict(wanted.rules, walls.landlock)
    drop_capabilities()
    if walls.seccomp:
        seccomp.install(wanted.calls)
    return Walls(walls.landlock, walls.bubblewrap, walls.seccomp, network_namespace)


def _limit(wanted: policy.Policy) -> None:
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: wanted.descriptors}
    if wanted.file_bytes is not None:
        limits[resource.RLIMIT_FSIZE] = wanted.file_bytes
    if wanted.limits is not None:
        limits[resource.RLIMIT_AS] = wanted.limits.address_bytes
        limits[resource.RLIMIT_CPU] = wanted.limits.cpu_seconds
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        lowered = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (lowered, lowered))


def _leave_network() -> bool:
    """Move to a network namespace with nothing in it, where this user may (that takes CAP_SYS_ADMIN)."""
    if bubblewrap.inside():
        return True
    try:
        unshare(CLONE_NEWNET)
    except OSError:
        return False
    return True
