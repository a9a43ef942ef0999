"""The API of a whole pool by its own description: schemathesis makes requests from docs/openapi.yaml."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from front_process import SAXPY
from hunt import CASES, SEED, TALLY
from pool_calls import assert_serves
from pool_process import PoolProcess
from seaweed import S3Server, running_s3_server

#: What the description cannot say: that a request is good takes more than its schema, another method is another route,
#: which the contract calls unknown (404), and DELETE cancels an invocation, which stays to be looked at.
_NOT_MEANT = "positive_data_acceptance,unsupported_method,use_after_free"

_METHODS = {"get", "put", "post", "delete", "head", "options", "patch", "trace"}


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A store for the pool."""
    with running_s3_server(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="module")
def pool(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolProcess]:
    """A whole pool on an emulated device."""
    stores = {name: s3_server.rights(name) for name in ("alice", "bob")}
    with PoolProcess(tmp_path_factory.mktemp("pool") / "state", stores) as running:
        yield running


def test_the_pool_does_what_its_description_says(pool: PoolProcess, s3_server: S3Server, tmp_path: Path) -> None:
    digest = pool.client().upload(SAXPY)
    described = yaml.safe_load((Path(__file__).parents[2] / "docs/openapi.yaml").read_text())
    operations = sum(len(_METHODS & path.keys()) for path in described["paths"].values())
    # The count given here is for each operation.
    examples = max(1, round(0.01 * CASES / operations)) if CASES else 2
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{pool.port}/openapi.json"),
        *("--header", "Authorization: Bearer alice-token", "--exclude-checks", _NOT_MEANT),
        *("--phases", "examples,coverage,fuzzing,stateful" if CASES else "fuzzing", "--max-examples", str(examples)),
        *("--seed", str(SEED), "--no-color", "--suppress-health-check", "all", "--request-timeout", "60"),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "api_hooks", "KAAS_FUZZ_DIGEST": digest}
    environment["PYTHONPATH"] = str(Path(__file__).parent)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) generated", done.stdout)
    assert found, done.stdout
    assert int(found[1]) >= operations, done.stdout
    TALLY.setdefault("described request", Counter())["conforms"] += int(found[1])
    client = s3_server.client("admin")
    assert_serves(pool, client)
    client.close()
