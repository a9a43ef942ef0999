"""Namespaces for the tests, in the cluster of the present context; nothing runs unless it is asked for by name."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from helm_chart import helm_binary
from namespace import Namespace

ASKED_FOR = "KAAS_TEST_CLUSTER"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get(ASKED_FOR) != "1":
        reason = f"installs into a cluster: {ASKED_FOR}=1 (make test-cluster) lets it use kubectl's present context"
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    """One of its own, of the strictest kind that Kubernetes knows; deleted at the end, volumes included."""
    assert shutil.which("kubectl"), "the tests of a cluster need kubectl on the PATH"
    made = Namespace(f"kaas-test-{uuid.uuid4().hex[:8]}", helm_binary(True))
    made.kubectl("create", "namespace", made.name)
    made.kubectl("label", "namespace", made.name, "pod-security.kubernetes.io/enforce=restricted")
    try:
        yield made
    finally:
        made.kubectl("delete", "namespace", made.name, "--timeout=180s")
