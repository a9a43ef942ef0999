"""Loops that a value ends, branches and shared temporaries on a whole pool, and cubins at its door."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from executor_actions import MANIFESTS, SOURCE
from front_process import Reply
from pool_calls import done, failed, get, put, refused
from pool_process import PoolProcess
from seaweed import S3Client

from kaas.archive import write_archive
from kaas.client import digest_of
from kaas_pool.compiler import nvrtc


def bundle(name: str) -> bytes:
    """One of the executor tests' actions."""
    manifest = f"kaas: 1\nname: '{name}'\n{MANIFESTS[name]}"
    return write_archive({"kaas.yaml": manifest.encode(), "all.cu": SOURCE.encode()})


def test_a_loop_that_a_value_ends_tells_its_rounds(pool: PoolProcess, s3: S3Client, name: str) -> None:
    client = pool.client()
    x = put(s3, f"{name}/x.npy", np.full(10, 100, np.float32))
    target = f"s3://alice/{name}/z.npy"
    result = done(client.invoke(client.upload(bundle("settle")), {"x": x, "z": target}))
    assert result["kaas"]["stats"]["rounds"] == [7]
    np.testing.assert_array_equal(get(s3, target), np.full(10, 0.78125, np.float32))
    # The result is cached under its own name although a swap has moved it.
    again = done(client.invoke(client.upload(bundle("saxpy")), {"x": target, "y": target, "z": "inline", "a": 1}))
    assert again["kaas"]["stats"]["device_hits"] == 1
    assert again["z"] == [1.5625] * 10


def test_a_loop_that_never_ends_is_ended_with_its_budget(pool: PoolProcess, s3: S3Client, name: str) -> None:
    client = pool.client()
    x = put(s3, f"{name}/x.npy", np.ones(10, np.float32))
    digest = client.upload(bundle("unsettled"))
    failed(client.invoke(digest, {"x": x, "z": "inline"}, budget_ms=300), "budget_exceeded")
    assert done(client.invoke(client.upload(bundle("settle")), {"x": x, "z": "inline"}))["z"] == [0.5] * 10


def test_branches_and_shared_temporaries_give_the_right_result(pool: PoolProcess, s3: S3Client, name: str) -> None:
    client = pool.client()
    array = np.arange(1 << 20, dtype=np.float32)
    x = put(s3, f"{name}/x.npy", array)
    target = f"s3://alice/{name}/z.npy"
    result = done(client.invoke(client.upload(bundle("turns")), {"x": x, "z": target}))
    assert "rounds" not in result["kaas"]["stats"]
    np.testing.assert_array_equal(get(s3, target), 11 * array)
    done(client.invoke(client.upload(bundle("branches")), {"x": x, "z": target, "rounds": 1}))
    np.testing.assert_array_equal(get(s3, target), 5 * array + 1)


def test_a_const_that_a_kernel_writes_stays_as_it_is(pool: PoolProcess, s3: S3Client, name: str) -> None:
    manifest = """
kaas: 1
name: count
buffers:
  w: {io: const, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - {kernel: count, source: count.cu, threads: [n], block: [1], args: [w, z]}
"""
    source = 'extern "C" __global__ void count(float *w, float *z) { z[blockIdx.x] = w[blockIdx.x] += 1; }'
    client = pool.client()
    digest = client.upload(write_archive({"kaas.yaml": manifest.encode(), "count.cu": source.encode()}))
    w = put(s3, f"{name}/w.npy", np.ones(4, np.float32))
    for hits in (0, 1):
        result = done(client.invoke(digest, {"w": w, "z": "inline"}))
        assert (result["z"], result["kaas"]["stats"]["device_hits"]) == ([2.0] * 4, hits)


@pytest.mark.skipif(importlib.util.find_spec("cuda") is None, reason="the extra 'gpu' is not installed")
def test_cubins_alone_are_refused_where_the_device_is_emulated(pool: PoolProcess) -> None:
    source = 'extern "C" __global__ void set(float *z) { z[threadIdx.x] = 1; }'
    made = nvrtc.compile_cubin(source, "set.cu", compute_capability=(9, 0), include=[], defines=[], expressions=["set"])
    manifest = """
kaas: 1
name: compiled
buffers:
  z: {io: out, dtype: float32, shape: [4]}
graph:
  - {kernel: set, cubins: {sm_90: set.cubin}, SOURCE grid: [1], block: [4], args: [z], writes: [z]}
"""
    client = pool.client()

    def put_bundle(more: str, image: bytes) -> Reply:
        text = manifest.replace("SOURCE", more)
        data = write_archive({"kaas.yaml": text.encode(), "set.cu": source.encode(), "set.cubin": image})
        return client.request("PUT", f"/v1/bundles/{digest_of(data)}", data)

    refused(put_bundle("", made.image), "not_supported", message="emulated", where="kaas.yaml:7", hint="add source")
    refused(put_bundle("", made.image[:900]), "bundle_invalid", message="set.cubin is no cubin", where="kaas.yaml:7")
    reply = put_bundle("source: set.cu,", made.image)
    assert reply.status == 200, reply
    assert done(client.invoke(reply.body["digest"], {"z": "inline"}))["z"] == [1.0] * 4
