"""The command lines and environments of the pool's processes.

Every child gets its link as descriptor 3 (the mover has none). An executor is started as

    python -m kaas_pool.executor --kind KIND --device ORDINAL --domain NAME --scratch DIR
        [--slots N] [--allow-unsandboxed]

and a compiler as `python -m kaas_pool.compiler --work DIR [--allow-unsandboxed]`; both confine themselves before they
read anything of a tenant's. DIR is empty, the child's alone, and removed after its end.
"""

from __future__ import annotations

from pathlib import Path

from kaas_emulator import sources
from kaas_pool.compiler import start, toolchains
from kaas_pool.sandbox import bubblewrap, policy
from kaas_pool.spawn import Command, environment
from kaas_pool.supervisor.config import PoolConfig


def front(config: PoolConfig, port: int | None) -> Command:
    """The front: `python -m kaas_pool.front --help`. `port` is where an earlier one listened, if there was one."""
    devices = ",".join(str(ordinal) for ordinal in range(config.devices))
    arguments = ["--state", str(config.state), "--kind", config.device, "--devices", devices]
    arguments += ["--tokens", str(config.tokens), "--mover", str(config.mover_socket)]
    arguments += [
        "--host",
        config.host,
        "--port",
        str(config.port if port is None else port),
        "--drain",
        str(config.drain),
    ]
    if config.slots is not None:
        arguments += ["--slots", str(config.slots)]
    if config.authorisation is not None:
        arguments += ["--authorisation", str(config.authorisation)]
    if config.controller is not None:
        arguments += ["--controller", config.controller]
    if config.policy is not None:
        arguments += ["--policy", config.policy]
    for tenant, domain in config.domains.items():
        arguments += ["--domain-of", f"{tenant}={domain}"]
    if config.certificate is not None and config.key is not None:
        arguments += ["--certificate", str(config.certificate), "--key", str(config.key)]
    if config.insecure_listen:
        arguments.append("--plaintext")
    return Command("kaas_pool.front", tuple(arguments), environment())


def mover(config: PoolConfig) -> Command:
    """The mover: `python -m kaas_pool.mover --help`."""
    arguments = ["--socket", str(config.mover_socket)]
    if config.stores.exists():
        arguments += ["--stores", str(config.stores)]
    if config.host_bytes is not None:
        arguments += ["--host-bytes", config.host_bytes]
    for root in config.file_roots:
        arguments += ["--allow-file-root", str(root)]
    return Command("kaas_pool.mover", tuple(arguments), environment())


def executor(config: PoolConfig, device: str, domain: str, scratch: Path) -> Command:
    """An executor of one trust domain on one device."""
    arguments = ["--kind", config.device, "--device", device, "--domain", domain, "--scratch", str(scratch)]
    if config.slots is not None:
        arguments += ["--slots", str(config.slots)]
    environ = environment({"TMPDIR": str(scratch)})
    if config.device == "emulated":
        environ["KAAS_EMULATOR_DEVICES"] = str(config.devices)
    if config.allow_unsandboxed:
        arguments.append("--allow-unsandboxed")
    # What it reads before it confines itself: the emulated driver, which is found by its sources and compiler.
    readable = [sources.driver_directory(), *toolchains.readable("emulated")] if config.device == "emulated" else []
    prefix = bubblewrap.prefix([*policy.executor(config.device, readable, scratch).rules, *policy.host_compiler()])
    if prefix:
        environ |= [bubblewrap.MARK]
    return Command("kaas_pool.executor", tuple(arguments), environ, prefix)


def compiler(config: PoolConfig, work: Path) -> Command:
    """A compiler, for one source."""
    return start.command(config.device, work, allow_unsandboxed=config.allow_unsandboxed)
