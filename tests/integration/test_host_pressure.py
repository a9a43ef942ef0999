"""A host tier with room for little more than one invocation: the others wait their turn, and none waits for ever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from front_process import SAXPY
from pool_calls import get, put
from pool_process import PoolProcess
from seaweed import S3Client, S3Server

MIB = 1 << 20


# Two run at a time. Each stores 4 MiB and reads twice 4 MiB: in 14 MiB both outputs and two inputs do not fit, and in
# 10 MiB not even both outputs and one input.
@pytest.mark.parametrize("host_bytes", ["14M", "10M"])
def test_invocations_that_fill_the_host_tier_take_turns(
    s3_server: S3Server, s3: S3Client, tmp_path: Path, host_bytes: str
) -> None:
    n, calls = MIB, 6
    x = np.arange(n, dtype=np.float32)
    with PoolProcess(tmp_path / "state", {"alice": s3_server.rights("alice")}, "--host-bytes", host_bytes) as pool:
        client = pool.client()
        bundle = client.upload(SAXPY)
        arguments = [
            {
                "x": put(s3, f"pressure/x{call}.npy", x + call),
                "y": put(s3, f"pressure/y{call}.npy", x),
                "z": f"s3://alice/pressure/z{call}.npy",
            }
            for call in range(calls)
        ]

        def invoke(call: int) -> dict[str, object]:
            reply = pool.client().invoke(bundle, arguments[call], budget_ms=60_000)
            return dict(reply.body)

        with ThreadPoolExecutor(calls) as threads:
            answers = list(threads.map(invoke, range(calls)))
    for call, answer in enumerate(answers):
        assert answer["state"] == "done", answer
        np.testing.assert_array_equal(get(s3, f"s3://alice/pressure/z{call}.npy"), (x + call) + x)
