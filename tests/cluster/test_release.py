"""The chart in a cluster, on the emulated device: installed, tested, killed, upgraded, deleted, and asked too much."""

from __future__ import annotations

from typing import Any

import pytest
from front_process import SAXPY
from namespace import TRIAL, CommandFailed, Namespace, Release

from kaas.client import digest_of

pytestmark = pytest.mark.timeout(1200)

ARGUMENTS: dict[str, Any] = {"x": [1, 2, 3], "y": [10, 10, 10], "a": 2, "z": "inline"}
ANSWER = [12, 14, 16]

#: Longer than a pool that is killed lives, and than one with `pool.drainSeconds: 1` drains.
SLOW = SAXPY.replace("int i =", "for (volatile int k = 0; k < 100000000; k = k + 1); int i =")


@pytest.fixture(scope="module")
def release(namespace: Namespace) -> Release:
    made = Release(namespace, "kaas")
    notes = made.upgrade(TRIAL)
    assert f"helm test -n {namespace.name} kaas --logs" in notes
    made.wait()
    return made


def test_helm_test_finds_it_right(release: Release) -> None:
    said = release.namespace.helm("test", "kaas", "--logs")
    assert "right: the pool computed, stored s3://out/kaas-test/y.npy and read it again" in said


def test_kernels_are_walled_off(release: Release) -> None:
    said = release.namespace.kubectl("logs", "kaas-0", "--container", "pool")
    assert "sandbox: landlock" in said
    assert "seccomp" in said


def test_it_answers_through_the_port_that_the_notes_forward(release: Release) -> None:
    with release.client() as pool:
        invocation = pool.invoke(SAXPY.encode(), ARGUMENTS)
    assert invocation.result is not None, invocation.error
    assert invocation.result["z"] == ANSWER


def test_what_was_accepted_outlives_a_killed_pod(release: Release) -> None:
    with release.client() as pool:
        accepted = pool.invoke(SLOW.encode(), ARGUMENTS, wait_ms=0)
    assert accepted.result is None
    first = release.pod()["metadata"]["uid"]
    release.namespace.kubectl("delete", "pod", "kaas-0", "--grace-period=0", "--force")
    release.wait()
    assert release.pod()["metadata"]["uid"] != first
    with release.client() as pool:
        finished = pool.invoke(SLOW.encode(), ARGUMENTS, id=accepted.id)
    assert finished.result is not None, finished.error
    assert finished.result["z"] == ANSWER


def test_an_upgrade_keeps_tokens_bundles_and_what_was_accepted(release: Release) -> None:
    changed = {**TRIAL, "pool.drainSeconds": 1}
    with release.client() as pool:
        pool.put_bundle(SAXPY.encode())
        accepted = pool.invoke(SLOW.encode(), {**ARGUMENTS, "a": 3}, wait_ms=0)
    token = release.namespace.get("secret", "kaas-client")["data"]
    release.upgrade(changed)
    release.wait()
    assert release.namespace.get("secret", "kaas-client")["data"] == token
    with release.client() as pool:
        known = pool.invoke(digest_of(SAXPY.encode()), ARGUMENTS)
        assert known.result is not None, "the bundle is known without an upload"
        finished = pool.invoke(SLOW.encode(), {**ARGUMENTS, "a": 3}, id=accepted.id)
    assert finished.result is not None, finished.error
    assert finished.result["z"] == [13, 16, 19]


def test_an_upgrade_mends_a_pod_that_cannot_start(release: Release) -> None:
    nowhere = {**TRIAL, "pool.nodeSelector": {"kaas.test/node": "nowhere"}}
    release.upgrade(nowhere)
    release.namespace.wait("pod/kaas-0", "jsonpath={.status.phase}=Pending")
    release.upgrade(TRIAL)
    release.wait()
    assert "nodeSelector" not in release.pod()["spec"]


def test_a_second_release_beside_it_without_the_gpu_it_asks_for(release: Release) -> None:
    second = Release(release.namespace, "second")
    with_gpu = {"store.bundled.enabled": True, "tls.allowPlaintext": True, "gpu.resource": "kaas.test/gpu"}
    before = release.pod()["metadata"]["uid"]
    try:
        second.upgrade(with_gpu)
        release.namespace.wait("pod/second-kaas-0", "jsonpath={.status.conditions[0].reason}=Unschedulable")
        assert "Insufficient kaas.test/gpu" in second.reasons()
        assert release.pod()["metadata"]["uid"] == before
        with release.client() as pool:
            pool.ready()
    finally:
        release.namespace.helm("uninstall", "second")


def test_a_missing_secret_is_named_and_waited_for(release: Release) -> None:
    third = Release(release.namespace, "third")
    values = {**TRIAL, "store.bundled.enabled": False, "store.existingSecret": "late-stores"}
    try:
        third.upgrade(values)
        release.namespace.wait(
            "pod/third-kaas-0", "jsonpath={.status.conditions[?(@.type=='PodScheduled')].status}=True"
        )
        release.namespace.secret("late-stores", stores__json='{"tenants": {}}')
        third.wait()
        assert 'secret "late-stores" not found' in third.reasons()
    finally:
        release.namespace.helm("uninstall", "third")


def test_with_a_certificate(release: Release) -> None:
    release.namespace.certificate("pool-tls", f"kaas.{release.namespace.name}.svc")
    release.upgrade({**TRIAL, "tls.allowPlaintext": False, "tls.secret": "pool-tls"})
    release.wait()
    assert "listening on https://" in release.namespace.kubectl("logs", "kaas-0", "--container", "pool")
    assert "right: the pool computed" in release.namespace.helm("test", "kaas", "--logs")


def test_deleting_it_leaves_the_volumes_and_a_new_one_finds_them(release: Release) -> None:
    release.namespace.helm("uninstall", "kaas", "--wait")
    assert {"kaas-state", "kaas-store"} <= release.namespace.names("pvc")
    release.upgrade(TRIAL)
    release.wait()
    with release.client() as pool:
        known = pool.invoke(digest_of(SAXPY.encode()), ARGUMENTS)
    assert known.result is not None, known.error


def test_pods_with_more_rights_would_not_be_let_in(namespace: Namespace) -> None:
    """That the namespace is strict, and so the other tests tell something."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "lax"},
        "spec": {"containers": [{"name": "lax", "image": "kaas/action-kaas-v1:1"}]},
    }
    with pytest.raises(CommandFailed, match="violates PodSecurity"):
        namespace.apply(pod)
