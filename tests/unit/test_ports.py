"""Ports that are claimed: nobody else's while the claim stands, and anybody's after it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from kaas_local import seaweedfs
from kaas_local.ports import take
from kaas_local.seaweedfs import Identity, Ports, SeaweedFS, SeaweedFSError

IDENTITY = Identity("one", "access", "secret", ("Admin",))


def free_port() -> int:
    """A port that nothing uses and nobody claims."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def is_free(*ports: int) -> bool:
    claim = take(*ports)
    if claim is not None:
        claim.close()
    return claim is not None


def test_a_port_can_be_taken_again_when_its_claim_is_closed() -> None:
    port = free_port()
    for _ in range(2):
        claim = take(port)
        assert claim is not None
        assert take(port) is None
        claim.close()
        claim.close()


def test_all_are_taken_or_none() -> None:
    port, used = free_port(), free_port()
    before = descriptors()
    with socket.create_server(("127.0.0.1", used)):
        assert take(port, used) is None
        assert is_free(port)
    claim = take(used)
    assert claim is not None
    assert take(port, used) is None
    assert is_free(port)
    claim.close()
    assert is_free(port, used)
    assert descriptors() == before


def test_chosen_ports_and_those_beside_them_are_claimed() -> None:
    ports = Ports.choose()
    chosen = (ports.s3, ports.master, ports.volume, ports.filer, ports.admin)
    both = [port + more for port in chosen for more in (0, 10_000)]
    assert not any(is_free(port) for port in both)
    again = Ports.choose(ports.s3)
    assert again.s3 > ports.s3
    again.close()
    ports.close()
    assert all(is_free(port) for port in both)


def test_a_choice_that_fails_leaves_nothing_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr(seaweedfs, "_anywhere", lambda: [port])
    monkeypatch.setattr(seaweedfs, "_GRPC", 1)
    with pytest.raises(SeaweedFSError, match="no free port"):
        Ports.choose()
    assert is_free(port)


def test_a_store_that_failed_keeps_its_ports_until_they_are_closed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(seaweedfs, "_executable", lambda: Path("/bin/false"))
    ports = Ports.choose()
    with pytest.raises(SeaweedFSError, match="ended with status 1"):
        SeaweedFS(tmp_path, ports, [IDENTITY]).start()
    assert not is_free(ports.s3)
    ports.close()
    second = Ports.choose(ports.s3)
    assert second.s3 == ports.s3
    second.close()
