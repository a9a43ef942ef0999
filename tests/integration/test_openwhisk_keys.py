"""Keys of the local OpenWhisk API at the pool: what becomes of one that is changed or taken away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from front_process import SAXPY, FrontProcess, wait_until
from openwhisk_process import KEYS, OpenWhiskProcess
from test_front_keys import ARGUMENTS, KeyClient

NEW = "6f3c1a52-9b1e-4f0e-8d2c-3a7d5e9b1c40:guests-new-secret"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[OpenWhiskProcess]:
    with OpenWhiskProcess(tmp_path / "openwhisk") as running:
        yield running


def test_a_changed_key_is_refused_when_the_old_word_on_it_is_out_of_date(api: OpenWhiskProcess, tmp_path: Path) -> None:
    arguments = ("--controller", api.url, "--authorisation", "0.05")
    with FrontProcess(tmp_path / "front", *arguments) as front:
        old = {namespace: KeyClient(front, key) for namespace, key in KEYS.items()}
        assert old["guest"].invoke(old["guest"].upload(SAXPY), ARGUMENTS, id="mine").body["state"] == "done"
        assert old["other"].get("/v1/devices").status == 200
        api.stop()
        api.keys = {"guest": NEW}
        api.start()
        wait_until(lambda: all(client.get("/v1/devices").code == "unauthenticated" for client in old.values()))
        renewed = KeyClient(front, NEW)
        assert renewed.get("/v1/invocations/mine").body["state"] == "done", "the namespace is the tenant, not the key"


def test_until_then_it_is_believed(api: OpenWhiskProcess, tmp_path: Path) -> None:
    with FrontProcess(tmp_path / "front", "--controller", api.url) as front:
        known, unknown = KeyClient(front, KEYS["guest"]), KeyClient(front, KEYS["other"])
        assert known.get("/v1/devices").status == 200
        api.stop()
        assert unknown.get("/v1/devices").code == "controller_unreachable"
        api.keys = {"guest": NEW}
        api.start()
        assert known.get("/v1/devices").status == 200, "for 300 s"
        assert unknown.get("/v1/devices").code == "unauthenticated"
        assert KeyClient(front, NEW).get("/v1/devices").status == 200
