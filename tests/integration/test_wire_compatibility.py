"""Old clients and this pool: what version 0.1 sent is sent again, and has to be answered as it was."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from front_process import TOKENS
from pool_process import PoolProcess

from kaas.client import digest_of

FIXTURES = Path(__file__).parents[1] / "contract-fixtures"
RECORDED: dict[str, Any] = json.loads((FIXTURES / "pool-v1.json").read_text())
BUNDLE = (FIXTURES / "bundle.yaml").read_bytes()

_TYPES: dict[str, Any] = {"$string": str, "$number": (int, float), "$list": list}


def differences(found: Any, expected: Any, where: str = "answer") -> list[str]:
    """What an old client would miss in an answer; what is there besides, it does not see."""
    if isinstance(expected, str) and expected in _TYPES:
        return [] if isinstance(found, _TYPES[expected]) else [f"{where} is {found!r}, not a {expected[1:]}"]
    if isinstance(expected, dict) and isinstance(found, dict):
        lacks = [f"{where} lacks {key!r}" for key in expected if key not in found]
        both = [key for key in expected if key in found]
        return [*lacks, *(line for key in both for line in differences(found[key], expected[key], f"{where}.{key}"))]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(found, expected, strict=True))
        return [line for index, (one, other) in pairs for line in differences(one, other, f"{where}[{index}]")]
    return [] if found == expected else [f"{where} is {found!r}, not {expected!r}"]


def filled(template: Any, values: dict[str, str]) -> Any:
    """A template with `$digest`, `$id` and the like in place."""
    text = json.dumps(template)
    for name, value in values.items():
        text = text.replace(f"${name}", value)
    return json.loads(text)


def exchange(pool: PoolProcess, client: dict[str, Any], one: dict[str, Any]) -> tuple[int, Any]:
    """Send one request as it was recorded; status and decoded answer."""
    data = None
    headers = {name: value.replace("$token", client["token"]) for name, value in client["headers"].items()}
    if "body" in one:
        data = BUNDLE if one["body"] == "$bundle" else json.dumps(one["body"], separators=(",", ":")).encode()
        headers["Content-Type"] = one["type"]
    request = urllib.request.Request(f"http://127.0.0.1:{pool.port}{one['path']}", data, headers, method=one["method"])
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())


def test_what_is_compared() -> None:
    assert differences({"a": [1, 2.5], "new": 1}, {"a": [1, "$number"]}) == []
    assert differences({"a": "1"}, {"a": "$number", "b": 1}) == ["answer lacks 'b'", "answer.a is '1', not a number"]
    assert differences([1], [1, 2]) == ["answer is [1], not [1, 2]"]


@pytest.mark.parametrize("name", RECORDED["clients"])
def test_an_old_client_is_answered_as_it_was(pool: PoolProcess, name: str) -> None:
    client = RECORDED["clients"][name]
    assert client["token"] in TOKENS
    for number, dialogue in enumerate(RECORDED["dialogues"]):
        values = {"digest": digest_of(BUNDLE), "id": f"wire-{client['token']}-{number}"}
        for one in dialogue["exchanges"]:
            status, answer = exchange(pool, client, filled(one, values))
            assert status == one["status"], (dialogue["name"], answer)
            assert differences(answer, filled(one["answer"], values)) == [], dialogue["name"]
