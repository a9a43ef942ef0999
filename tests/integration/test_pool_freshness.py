"""Freshness, pins and safetensors on a whole pool with a real store: results show which version was computed with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from front_process import IN_PLACE, SAXPY, HttpClient, wait_until
from pool_calls import done, failed, put, refused
from pool_process import PoolProcess
from safetensors.numpy import save
from seaweed import S3Client, S3Server


@pytest.fixture(scope="module")
def strict_pool(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolProcess]:
    """A pool that hardly believes a right."""
    stores = {name: s3_server.rights(name) for name in ("alice", "bob")}
    state = tmp_path_factory.mktemp("strict") / "state"
    with PoolProcess(state, stores, "--authorisation", "0.05") as running:
        yield running


def full(value: float, count: int = 1) -> npt.NDArray[np.float32]:
    """An array of one value."""
    return np.full(count, value, np.float32)


def scaled(client: HttpClient, bundle: str, w: str) -> Any:
    """Two times w, or the reply that says why not."""
    reply = client.invoke(bundle, {"x": {"from": [2.0], "to": "inline"}, "w": w})
    return reply.body["result"]["x"] if reply.body.get("state") == "done" else reply


def first_other(client: HttpClient, bundle: str, w: str, present: list[float]) -> Any:
    """Scale until something else than `present` comes back, and return that."""
    found: list[Any] = [present]

    def is_other() -> bool:
        found[0] = scaled(client, bundle, w)
        return bool(found[0] != present)

    wait_until(is_other)
    return found[0]


def test_a_constant_changes_when_it_is_refreshed(strict_pool: PoolProcess, s3: S3Client, name: str) -> None:
    client = strict_pool.client()
    bundle = client.upload(IN_PLACE)
    w = put(s3, f"{name}/w.npy", full(3))
    assert scaled(client, bundle, w) == [6.0]
    put(s3, f"{name}/w.npy", full(5))
    refused(
        first_other(client, bundle, w, [6.0]),
        "object_changed",
        message=w,
        where="arguments.w",
        hint="kaas cache refresh",
    )
    assert client.post("/v1/cache/refresh", {"reference": w}).body == {"refreshed": 1}
    assert scaled(client, bundle, w) == [10.0]
    s3.delete_object(Bucket="alice", Key=f"{name}/w.npy")
    refused(first_other(client, bundle, w, [10.0]), "object_not_found", message=w, where="arguments.w")


def test_a_constant_of_the_action_is_read_under_the_callers_rights(
    strict_pool: PoolProcess, s3: S3Client, name: str
) -> None:
    w = put(s3, f"{name}/w.npy", full(3), "shared")
    private = put(s3, f"{name}/w.npy", full(3))
    manifest = IN_PLACE.replace("shape: [1]}", f"shape: [1], from: '{w}'}}")
    arguments = {"x": {"from": [2.0], "to": "inline"}}
    for token in ("alice-token", "bob-token"):
        client = strict_pool.client(token)
        for _ in range(2):
            assert done(client.invoke(client.upload(manifest), arguments))["x"] == [6.0]
    bob = strict_pool.client("bob-token")
    reply = bob.invoke(bob.upload(manifest.replace(w, private)), arguments)
    refused(reply, "object_forbidden", message=private, where="kaas.yaml:5")


def test_tensors_by_name(strict_pool: PoolProcess, s3: S3Client, name: str) -> None:
    tensors = {f"layer.{index}.weight": full(index, 3) for index in range(200)}
    s3.put_object(Bucket="alice", Key=f"{name}/model.safetensors", Body=save(tensors))
    model = f"s3://alice/{name}/model.safetensors"
    client = strict_pool.client()
    bundle = client.upload(SAXPY)
    for freshness in ("always", "pinned", "max_age=100"):
        for index in (0, 7, 199):
            arguments = {"x": f"{model}#layer.{index}.weight", "y": [1.0] * 3, "z": "inline", "a": 2}
            result = done(client.invoke(bundle, {**arguments, "freshness": freshness}))
            assert result["z"] == [2.0 * index + 1] * 3
    reply = client.invoke(bundle, {"x": f"{model}#layer.7.wieght", "y": [1.0] * 3, "z": "inline"})
    refused(reply, "object_not_found", message="layer.7.wieght", where="arguments.x", hint="layer.7.weight")
    s3.put_object(Bucket="alice", Key=f"{name}/model.safetensors", Body=save({**tensors, "layer.7.weight": full(9, 3)}))
    result = done(client.invoke(bundle, {"x": f"{model}#layer.7.weight", "y": [1.0] * 3, "z": "inline"}))
    assert result["z"] == [10.0] * 3


def test_a_remembered_version_that_is_gone_is_looked_for_again(pool: PoolProcess, s3: S3Client, name: str) -> None:
    client = pool.client()
    bundle = client.upload(SAXPY)
    x = put(s3, f"{name}/x.npy", full(1, 2))
    arguments = {"x": x, "y": [0.0] * 2, "z": "inline", "freshness": {"x": "max_age=1000"}}
    assert done(client.invoke(bundle, arguments))["z"] == [1.0] * 2
    put(s3, f"{name}/x.npy", full(2, 2))
    assert done(client.invoke(bundle, arguments))["z"] == [1.0] * 2, "the version of before, from the cache"
    client.post("/v1/cache/purge", {})
    result = done(client.invoke(bundle, arguments))
    assert (result["z"], result["kaas"]["stats"]["attempts"]) == ([2.0] * 2, 2)
    put(s3, f"{name}/x.npy", full(3, 3))
    client.post("/v1/cache/purge", {})
    failed(client.invoke(bundle, arguments), "shape_mismatch")
    s3.delete_object(Bucket="alice", Key=f"{name}/x.npy")
    client.post("/v1/cache/purge", {})
    wider = {**arguments, "y": [0.0] * 3}
    failed(client.invoke(bundle, wider), "object_not_found", message=x, where="arguments.x")
    refused(client.invoke(bundle, wider), "object_not_found", message=x)


def test_an_output_is_seen_by_who_remembers_its_older_version(pool: PoolProcess, s3: S3Client, name: str) -> None:
    client = pool.client()
    bundle = client.upload(SAXPY)
    x = put(s3, f"{name}/x.npy", full(1, 2))
    remembering = {"x": x, "y": [0.0] * 2, "z": "inline", "freshness": "max_age=1000"}
    assert done(client.invoke(bundle, remembering))["z"] == [1.0] * 2
    done(client.invoke(bundle, {"x": [5.0, 6.0], "y": [0.0] * 2, "z": x}))
    result = done(client.invoke(bundle, remembering))
    assert (result["z"], result["kaas"]["stats"]["misses"]) == ([5.0, 6.0], 0)


def chained(client: HttpClient, bundle: str, source: str, kaas: object) -> tuple[Any, dict[str, Any]]:
    """The action after one that wrote `source`: its z, and where its inputs were found."""
    result = done(client.invoke(bundle, {"x": source, "y": [0.0] * 4, "z": "inline", "a": 1, "kaas": kaas}))
    return result["z"], result["kaas"]["stats"]


def test_what_an_action_hands_on_is_on_the_device(pool: PoolProcess, s3: S3Client, name: str) -> None:
    client = pool.client()
    bundle = client.upload(SAXPY)
    middle = f"s3://alice/{name}/middle.npy"
    written = done(client.invoke(bundle, {"x": [1.0] * 4, "y": [2.0] * 4, "a": 3, "z": middle}))
    z, stats = chained(client, bundle, middle, written["kaas"])
    assert z == [5.0] * 4
    assert (stats["misses"], stats["bytes_loaded"], stats["device_hits"]) == (0, 0, 1)


@pytest.mark.parametrize("claimed", ["stale", "forged"])
def test_an_etag_that_is_claimed_gives_no_other_data(pool: PoolProcess, s3: S3Client, name: str, claimed: str) -> None:
    client = pool.client()
    bundle = client.upload(SAXPY)
    middle = f"s3://alice/{name}/middle.npy"
    written = done(client.invoke(bundle, {"x": [1.0] * 4, "y": [2.0] * 4, "a": 3, "z": middle}))
    put(s3, f"{name}/middle.npy", full(7, 4))
    if claimed == "forged":
        written["kaas"]["outputs"]["z"]["etag"] = '"0123456789abcdef0123456789abcdef"'
    else:
        # This tenant has seen the new version since, so the old one is nothing to go by any more.
        assert chained(client, bundle, middle, None)[0] == [7.0] * 4
    assert chained(client, bundle, middle, written["kaas"])[0] == [7.0] * 4


def test_anothers_etag_opens_no_door(pool: PoolProcess, name: str) -> None:
    alice, bob = pool.client(), pool.client("bob-token")
    bundle = alice.upload(SAXPY)
    assert bob.upload(SAXPY) == bundle
    middle = f"s3://alice/{name}/middle.npy"
    written = done(alice.invoke(bundle, {"x": [1.0] * 4, "y": [2.0] * 4, "a": 3, "z": middle}))
    call = {"x": middle, "y": [0.0] * 4, "z": "inline", "a": 1, "kaas": written["kaas"]}
    refused(bob.invoke(bundle, call), "object_forbidden")
