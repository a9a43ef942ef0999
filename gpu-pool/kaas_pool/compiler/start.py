"""How a compiler child is started, by the supervisor and by `compile_bundle` alike."""

from __future__ import annotations

from pathlib import Path

from kaas_pool.compiler import toolchains
from kaas_pool.sandbox import DeviceKind, bubblewrap, policy
from kaas_pool.spawn import Command, environment


def command(
    device: DeviceKind, work: Path, *, allow_unsandboxed: bool, limits: policy.Limits = policy.COMPILER_LIMITS
) -> Command:
    """The command of a compiler that may write in `work`: an empty folder, its alone, removed after its end."""
    arguments = ["--work", str(work), "--cpu-seconds", str(limits.cpu_seconds)]
    arguments += ["--memory-bytes", str(limits.address_bytes), "--output-bytes", str(limits.file_bytes)]
    if allow_unsandboxed:
        arguments.append("--allow-unsandboxed")
    # English messages in plain quotes, whatever the pool's own language is.
    environ = environment({"TMPDIR": str(work), "LC_ALL": "C"})
    prefix = bubblewrap.prefix(policy.compiler(toolchains.readable(device), work).rules)
    if prefix:
        environ |= [bubblewrap.MARK]
    return Command("kaas_pool.compiler", tuple(arguments), environ, prefix)
