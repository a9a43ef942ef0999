"""The action proxy replays the fixtures that it shares with the invoker plugin (tests/contract-fixtures)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from proxy_process import ProxyProcess
from scripted_pool import Request, ScriptedPool

FIXTURES = Path(__file__).parents[1] / "contract-fixtures"
BUNDLE = (FIXTURES / "bundle.yaml").read_text()
INIT = json.loads((FIXTURES / "init.json").read_text())
RUN = json.loads((FIXTURES / "run.json").read_text())


@pytest.fixture(scope="module")
def pool() -> Iterator[ScriptedPool]:
    with ScriptedPool(lambda request: None) as pool:
        yield pool


@pytest.fixture(scope="module")
def ready(pool: ScriptedPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """A proxy with the fixtures' bundle."""
    with ProxyProcess(tmp_path_factory.mktemp("proxy"), {"KAAS_POOL_URL": pool.url, "KAAS_TOKEN": "secret"}) as proxy:
        assert proxy.init(BUNDLE) == (200, {"ok": True})
        yield proxy


@pytest.mark.parametrize("case", INIT, ids=lambda case: case["name"])
def test_init(case: dict[str, Any], tmp_path: Path) -> None:
    value = case["value"]
    if isinstance(value, dict) and value.get("code") == "$bundle":
        value = value | {"code": BUNDLE}
    with ProxyProcess(tmp_path, {}) as proxy:
        status, body = proxy.post("/init", {"value": value})
    expected = case["answer"]
    assert status == expected["status"], body
    if "error" in expected:
        assert body == {"error": expected["error"]}
    if "code" in expected:
        assert body["error"]["code"] == expected["code"]


@pytest.mark.parametrize("case", RUN["cases"], ids=lambda case: case["name"])
def test_run(case: dict[str, Any], pool: ScriptedPool, ready: ProxyProcess) -> None:
    answers = iter(case["pool"])

    def script(request: Request) -> tuple[int, Any] | None:
        answer = next(answers)
        if answer == "close":
            return None
        if "text" in answer:
            return answer["status"], answer["text"].encode()
        return answer["status"], json.loads(json.dumps(answer["body"]).replace("$id", request.body["id"]))

    pool.script = script
    pool.requests.clear()
    ready.mark()
    status, body = ready.post("/run", RUN["defaults"] | case["run"])

    assert [request.method for request in pool.requests] == case["requests"]
    for name, value in case.get("sent", {}).items():
        assert pool.invocations[-1].body[name] == value
    expected = case["answer"]
    assert status == expected["status"], body
    if "body" in expected:
        assert body == expected["body"]
    else:
        assert body["error"].items() >= expected["error"].items()
        assert body["error"]["activation"] == (RUN["defaults"] | case["run"])["activation_id"]
    # After the pool's lines: the summary and the sentinel; the error, if there is one, and the sentinel.
    assert ready.stdout.splitlines()[:-2] == case.get("stdout", [])
    assert ready.stderr.splitlines()[: -2 if "error" in body else -1] == case.get("stderr", [])
