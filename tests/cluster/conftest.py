"""Namespaces for the tests, in the cluster of the present context; nothing runs unless it is asked for by name."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def made() -> Iterator[Namespace]:
    """A namespace of the strictest kind that Kubernetes knows; deleted at the end, volumes included."""
    assert shutil.which("kubectl"), "the tests of a cluster need kubectl on the PATH"
    one = Namespace(f"kaas-test-{uuid.uuid4().hex[:8]}", helm_binary(True))
    one.kubectl("create", "namespace", one.name)
    one.kubectl("label", "namespace", one.name, "pod-security.kubernetes.io/enforce=restricted")
    try:
        yield one
    finally:
        one.kubectl("delete", "namespace", one.name, "--timeout=180s")


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    with made() as one:
        yield one


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Namespace]:
    with made() as one:
        yield one
