"""The pool's settings, from the command line of `python -m kaas_pool`."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from kaas_pool.sandbox import DeviceKind

DEFAULT_LISTEN = "127.0.0.1:7233"

#: Exists exactly where the kernel has NVIDIA's driver, or WSL's in its place.
_DRIVER_NODES = ("/dev/nvidiactl", "/dev/dxg")


@dataclass(frozen=True)
class PoolConfig:
    """What the pool was started with. Paths are absolute; sizes are as given, times in seconds."""

    state: Path
    host: str
    port: int
    device: DeviceKind
    devices: int
    tokens: Path
    stores: Path
    host_bytes: str | None
    slots: int | None
    policy: str | None
    domains: Mapping[str, str]
    file_roots: tuple[Path, ...]
    #: The socket of a mover that somebody else runs; None: the pool runs its own.
    external_mover: Path | None
    certificate: Path | None
    key: Path | None
    insecure_listen: bool
    allow_unsandboxed: bool
    drain: float
    #: How long tenants' rights to objects are believed; None: as long as the front says.
    authorisation: float | None
    #: Where OpenWhisk's API is, for its users' keys; None: they are not taken.
    controller: str | None

    @property
    def run(self) -> Path:
        """Sockets, pid files, the lock, scratch folders."""
        return self.state / "run"

    @property
    def mover_socket(self) -> Path:
        """Where the mover listens."""
        return self.external_mover or self.run / "mover.sock"

    @property
    def images(self) -> Path:
        """Compiled images."""
        return self.state / "images"


def parse_arguments(arguments: Sequence[str]) -> PoolConfig:
    """Read the command line; exits with a message when it makes no sense or this machine cannot do it."""
    parser = _parser()
    given = parser.parse_args(arguments)
    host, port = _listen(parser, given.listen)
    domains = dict(_domain(parser, text) for text in given.domain_of)
    if given.authorisation is not None and not given.authorisation > 0:
        parser.error("--authorisation is more than 0 seconds")
    if given.devices < 1:
        parser.error("--devices is at least 1")
    if (given.tls_cert is None) != (given.tls_key is None):
        parser.error("--tls-cert and --tls-key go together")
    if not _is_loopback(host) and not given.insecure_listen:
        if given.device == "emulated":
            parser.error(
                f"--listen {given.listen} is reached from other machines, and emulated kernels are native code on "
                "this one: add --insecure-listen if you trust everyone who holds a token"
            )
        if given.tls_cert is None:
            parser.error(
                f"--listen {given.listen} is reached from other machines: give --tls-cert and --tls-key, "
                "or --insecure-listen where something else encrypts"
            )
    if given.device == "cuda" and not any(Path(node).exists() for node in _DRIVER_NODES):
        parser.error(
            f"--device cuda: no NVIDIA driver here ({_DRIVER_NODES[0]} is missing); "
            "--device emulated runs kernels on this machine's processors"
        )
    state = _absolute(given.state_dir)
    return PoolConfig(
        state=state,
        host=host,
        port=port,
        device=given.device,
        devices=given.devices,
        tokens=_absolute(given.tokens or state / "tokens.json"),
        stores=_absolute(given.stores or state / "stores.json"),
        host_bytes=given.host_bytes,
        slots=given.slots,
        policy=given.policy,
        domains=domains,
        file_roots=tuple(_absolute(root) for root in given.allow_file_root),
        external_mover=_absolute(given.mover_socket) if given.mover_socket else None,
        certificate=_absolute(given.tls_cert) if given.tls_cert else None,
        key=_absolute(given.tls_key) if given.tls_key else None,
        insecure_listen=given.insecure_listen,
        allow_unsandboxed=given.allow_unsandboxed,
        drain=given.drain,
        authorisation=given.authorisation,
        controller=_controller(parser, given.controller, given.insecure_listen),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kaas_pool", description="The GPU pool of one node: front, mover, executors and compilers."
    )
    add = parser.add_argument
    add("--state-dir", type=Path, required=True, metavar="DIR", help="the pool's own directory; made 0700")
    add("--device", choices=("cuda", "emulated"), required=True, help="the device layer; never guessed")
    add("--devices", type=int, default=1, metavar="N", help="how many devices to serve, from ordinal 0 (default: 1)")
    add("--listen", default=DEFAULT_LISTEN, metavar="HOST:PORT", help=f"port 0: any free (default: {DEFAULT_LISTEN})")
    add("--tokens", type=Path, metavar="FILE", help="tenants' tokens, 0600 (default: tokens.json in the state dir)")
    add("--stores", type=Path, metavar="FILE", help="tenants' store rights, 0600 (default: stores.json there)")
    add("--host-bytes", metavar="SIZE", help="host memory for data in flight and cached, such as 8G")
    add("--slots", type=int, metavar="N", help="invocations that one device runs at a time")
    add("--policy", metavar="NAME", help="scheduling policy")
    add(
        "--domain-of",
        action="append",
        default=[],
        metavar="TENANT=DOMAIN",
        help="tenants of one domain share a process",
    )
    add(
        "--allow-file-root",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="serve file:// below DIR to all",
    )
    add("--mover-socket", type=Path, metavar="PATH", help="use the mover that listens there instead of an own one")
    add("--tls-cert", type=Path, metavar="PEM", help="certificate chain")
    add("--tls-key", type=Path, metavar="PEM", help="private key")
    add("--insecure-listen", action="store_true", help="listen off loopback without TLS, or with an emulated device")
    add("--allow-unsandboxed", action="store_true", help="run sources unconfined where the walls cannot be had")
    add("--drain", type=float, default=30.0, metavar="S", help="seconds SIGTERM leaves to running invocations (30)")
    add("--controller", metavar="URL", help="take OpenWhisk's API keys, and ask its API there whose they are")
    add("--authorisation", type=float, metavar="S", help="seconds that a right to read an object is believed (300)")
    return parser


def _listen(parser: argparse.ArgumentParser, text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535 or not host:
        parser.error(f"--listen {text!r}: write HOST:PORT, for example {DEFAULT_LISTEN} or [::1]:7233")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _controller(parser: argparse.ArgumentParser, url: str | None, is_insecure: bool) -> str | None:
    """Keys go there: in plain text only to this machine, or where the operator says so."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parser.error(f"--controller {url!r} is no URL")
    if parts.scheme not in ("http", "https") or not host or parts.path.strip("/") or parts.query or parts.username:
        parser.error(f"--controller {url!r}: write the API's address without a path, such as https://openwhisk.example")
    if parts.scheme == "http" and not _is_loopback(host) and not is_insecure:
        parser.error(
            f"--controller {url} would get users' keys unencrypted: use https, or --insecure-listen where something "
            "else encrypts"
        )
    return url


def _domain(parser: argparse.ArgumentParser, text: str) -> tuple[str, str]:
    tenant, equals, domain = text.partition("=")
    if not (tenant and equals and domain):
        parser.error(f"--domain-of {text!r}: write TENANT=DOMAIN")
    return tenant, domain


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _absolute(path: Path) -> Path:
    return path.expanduser().resolve()
