"""The chart's network policies in a cluster whose network enforces them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from namespace import TRIAL, Namespace, Release

pytestmark = pytest.mark.timeout(1200)

IMAGE = "kaas/action-kaas-v1:1"
IDLE = "import signal; signal.pause()"
LISTENER = "import socket, signal; server = socket.create_server(('', 7000)); signal.pause()"

CONNECT = """\
import json, socket, sys
def is_open(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 5).close()
    except OSError:
        return False
    return True
print(json.dumps([is_open(address) for address in sys.argv[1:]]))
"""


def reached(namespace: Namespace, pod: str, *addresses: str, container: str | None = None) -> list[bool]:
    """Which of these HOST:PORT the pod can connect to."""
    where = ("--container", container) if container else ()
    answer: list[bool] = json.loads(namespace.kubectl("exec", pod, *where, "--", "python3", "-c", CONNECT, *addresses))
    return answer


def address(namespace: Namespace, pod: str) -> str:
    found: dict[str, Any] = namespace.get("pod", pod)
    return str(found["status"]["podIP"])


@pytest.fixture(scope="module")
def outsider(elsewhere: Namespace) -> Namespace:
    """A namespace with a pod `outsider`, in a network where policies are enforced; skips in another."""
    elsewhere.pod("outsider", IDLE, IMAGE)
    elsewhere.pod("closed", LISTENER, IMAGE)
    place = f"{address(elsewhere, 'closed')}:7000"
    assert reached(elsewhere, "outsider", place) == [True]
    spec = {"podSelector": {"matchLabels": {"kaas.test/pod": "closed"}}, "policyTypes": ["Ingress"]}
    about = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "closed"}}
    elsewhere.apply({**about, "spec": spec})
    for _ in range(20):  # Each try waits by itself: what enforces policies does so a little later, and does not tell.
        if reached(elsewhere, "outsider", place) == [False]:
            return elsewhere
    pytest.skip("this cluster's network does not enforce policies")


@pytest.fixture(scope="module")
def release(namespace: Namespace, outsider: Namespace) -> Release:
    made = Release(namespace, "kaas")
    made.upgrade(TRIAL)
    made.wait()
    return made


def test_the_release_works_behind_its_policies(release: Release) -> None:
    assert "right: the pool computed" in release.namespace.helm("test", "kaas", "--logs")


def test_nobody_else_reaches_the_pool_or_any_port_of_the_store(release: Release, outsider: Namespace) -> None:
    inside, store = release.namespace.name, address(release.namespace, "kaas-store-0")
    places = [f"kaas.{inside}.svc:7233", f"kaas-store.{inside}.svc:8333", f"{store}:9333", f"{store}:8888"]
    assert reached(outsider, "outsider", *places) == [False] * 4


def test_the_pool_reaches_the_stores_s3_alone(release: Release) -> None:
    store = address(release.namespace, "kaas-store-0")
    places = [f"kaas-store.{release.namespace.name}.svc:8333", f"{store}:9333", "kubernetes.default.svc:443"]
    assert reached(release.namespace, "kaas-0", *places, container="pool") == [True, False, False]


def test_clients_are_let_in(release: Release, outsider: Namespace) -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": outsider.name}}}
    release.upgrade({**TRIAL, "networkPolicy.clients": [peer]})
    place = f"kaas.{release.namespace.name}.svc:7233"
    assert any(reached(outsider, "outsider", place) == [True] for _ in range(20))
