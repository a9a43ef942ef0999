"""The front's settings, from its command line."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from kaas_pool.front.http_protocol import SILENT_SECONDS
from kaas_pool.scheduler import POLICIES

DEFAULT_PORT = 7233


@dataclass(frozen=True)
class FrontConfig:
    """What the front was started with. Sizes in bytes, times in seconds."""

    state: Path
    tokens: Path
    mover: Path
    #: The device layer, never guessed: `cuda` or `emulated`.
    kind: str
    devices: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    policy: str = "fcfs"
    #: Invocations that one device runs at a time.
    slots: int = 2
    #: Invocations waiting for a slot: in all, and of one tenant.
    queue: int = 10_000
    tenant_queue: int = 1_000
    #: Trust domains of tenants that share one; every other tenant is its own.
    domains: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    #: An executor that did nothing for so long is stopped; its device memory is free then.
    idle_stop: float = 600.0
    #: For how long a tenant's right to read an object is believed once the store has shown it.
    authorisation: float = 300.0
    #: Where OpenWhisk's API is, which knows whose an API key is; None: such keys are not taken.
    controller: str | None = None
    #: How long a request may be silent before it is whole.
    silent: float = SILENT_SECONDS
    #: How long running invocations may go on after SIGTERM.
    drain: float = 30.0
    certificate: Path | None = None
    key: Path | None = None
    #: The inherited descriptor of the link to the supervisor.
    control: int = 3

    def domain_of(self, tenant: str) -> str:
        """A tenant's trust domain."""
        return self.domains.get(tenant, tenant)

    def is_shared(self, domain: str) -> bool:
        """Whether a domain can hold several tenants, so that one's leftovers must not be seen by another."""
        return domain in self.domains.values()

    @property
    def bundles(self) -> Path:
        """Uploaded bundles, by digest."""
        return self.state / "bundles"

    @property
    def images(self) -> Path:
        """Compiled images."""
        return self.state / "images"

    @property
    def journal(self) -> Path:
        """Accepted asynchronous invocations, tenants' bundles, pinned references."""
        return self.state / "journal.sqlite"

    @property
    def announcement(self) -> Path:
        """Written once the front listens: `{"host", "port", "pid"}`."""
        return self.state / "run" / "front.json"


def is_loopback(host: str) -> bool:
    """Whether `host` can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_arguments(arguments: Sequence[str]) -> FrontConfig:
    """Read the command line; exits with a message when it makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m kaas_pool.front", description="The pool's front.")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="the pool's state directory")
    parser.add_argument("--kind", choices=("cuda", "emulated"), required=True, help="the device layer")
    parser.add_argument("--devices", default="0", metavar="0,1", help="ordinals of the devices (default: 0)")
    parser.add_argument("--tokens", type=Path, metavar="FILE", help="default: tokens.json in the state directory")
    parser.add_argument("--mover", type=Path, metavar="SOCKET", help="default: run/mover.sock in the state directory")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"0 takes a free one (default: {DEFAULT_PORT})")
    parser.add_argument("--policy", choices=sorted(POLICIES), default="fcfs", help="scheduling policy")
    parser.add_argument("--slots", type=int, default=2, help="invocations one device runs at a time (default: 2)")
    parser.add_argument("--queue", type=int, default=10_000, help="invocations that may wait (default: 10000)")
    parser.add_argument("--tenant-queue", type=int, default=1_000, help="... of one tenant (default: 1000)")
    parser.add_argument(
        "--domain-of", action="append", default=[], metavar="TENANT=DOMAIN", help="tenants that share a trust domain"
    )
    parser.add_argument("--idle-stop", type=float, default=600.0, help="seconds until an idle executor is stopped")
    parser.add_argument(
        "--authorisation",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="how long a right to read an object is believed before the store is asked again (default: 300)",
    )
    parser.add_argument(
        "--controller", metavar="URL", help="take OpenWhisk's API keys, and ask its API there whose they are"
    )
    parser.add_argument(
        "--silent",
        type=float,
        default=SILENT_SECONDS,
        metavar="SECONDS",
        help=f"how long a request may be silent before it is whole (default: {SILENT_SECONDS:g})",
    )
    parser.add_argument("--drain", type=float, default=30.0, help="seconds that SIGTERM leaves to running invocations")
    parser.add_argument("--certificate", type=Path, metavar="PEM", help="TLS certificate chain")
    parser.add_argument("--key", type=Path, metavar="PEM", help="TLS private key")
    parser.add_argument("--plaintext", action="store_true", help="allow HTTP without TLS off the loopback interface")
    parser.add_argument("--control", type=int, default=3, metavar="FD", help="link to the supervisor (default: 3)")
    given = parser.parse_args(arguments)
    devices = tuple(part.strip() for part in given.devices.split(",") if part.strip())
    if not devices or not all(device.isdigit() for device in devices) or len(set(devices)) != len(devices):
        parser.error(f"--devices {given.devices!r}: ordinals separated by commas, each once")
    if min(given.slots, given.queue, given.tenant_queue) < 1:
        parser.error("--slots, --queue and --tenant-queue are at least 1")
    if not (given.authorisation > 0 and given.silent > 0):
        parser.error("--authorisation and --silent are more than 0 seconds")
    if (given.certificate is None) != (given.key is None):
        parser.error("--certificate and --key go together")
    domains = dict(text.partition("=")[::2] for text in given.domain_of)
    if not all(domains) or not all(domains.values()):
        parser.error("--domain-of is TENANT=DOMAIN")
    if given.certificate is None and not is_loopback(given.host) and not given.plaintext:
        parser.error(
            f"--host {given.host} is reached from other machines: give --certificate and --key, or --plaintext"
        )
    return FrontConfig(
        state=given.state,
        tokens=given.tokens or given.state / "tokens.json",
        mover=given.mover or given.state / "run" / "mover.sock",
        kind=given.kind,
        devices=devices,
        host=given.host,
        port=given.port,
        policy=given.policy,
        slots=given.slots,
        queue=given.queue,
        tenant_queue=given.tenant_queue,
        domains=MappingProxyType(domains),
        idle_stop=given.idle_stop,
        authorisation=given.authorisation,
        controller=given.controller,
        silent=given.silent,
        drain=given.drain,
        certificate=given.certificate,
        key=given.key,
        control=given.control,
    )
