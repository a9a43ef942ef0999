"""Tokens: who is let in, with which scopes, for which tenant."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from kaas.errors import CallerError
from kaas_pool.front.tokens import Tokens, TokensInvalid


def token(text: str, tenant: str = "alice", *scopes: str) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "tenant": tenant, "scopes": list(scopes)}


def write(path: Path, *entries: object) -> Path:
    file = path / "tokens.json"
    file.write_text(json.dumps(entries))
    file.chmod(0o600)
    return file


def refused(tokens: Tokens, authorization: str | None, tenant: str | None = None) -> str:
    with pytest.raises(CallerError) as caught:
        tokens.identify(authorization, tenant)
    assert caught.value.hint or caught.value.where
    return caught.value.code


def test_a_token_names_a_tenant_and_its_scopes(tmp_path: Path) -> None:
    tokens = Tokens(write(tmp_path, token("secret", "alice", "invoke")))
    identity = tokens.identify("Bearer secret")
    assert identity.tenant == "alice"
    identity.require("invoke")
    with pytest.raises(CallerError) as caught:
        identity.require("read")
    assert caught.value.code == "scope_missing"
    assert tokens.identify("bearer secret ") == identity


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic c2VjcmV0", "secret"])
def test_anything_else_is_unauthenticated(tmp_path: Path, header: str | None) -> None:
    tokens = Tokens(write(tmp_path, token("secret", "alice", "invoke")))
    assert refused(tokens, header) == "unauthenticated"


def test_only_vouch_may_name_another_tenant(tmp_path: Path) -> None:
    tokens = Tokens(write(tmp_path, token("a", "alice", "invoke", "admin"), token("p", "plugin", "invoke", "vouch")))
    assert refused(tokens, "Bearer a", "bob") == "scope_missing"
    assert refused(tokens, "Bearer a", "alice") == "scope_missing", "refused, not ignored"
    assert tokens.identify("Bearer p", "bob").tenant == "bob"
    assert tokens.identify("Bearer p").tenant == "plugin"
    assert refused(tokens, "Bearer p", "b\nb") == "request_invalid"


def test_admin_may_read(tmp_path: Path) -> None:
    identity = Tokens(write(tmp_path, token("a", "alice", "admin"))).identify("Bearer a")
    identity.require("read")
    with pytest.raises(CallerError):
        identity.require("invoke")


def test_a_reload_takes_the_new_file_and_survives_a_broken_one(tmp_path: Path) -> None:
    tokens = Tokens(write(tmp_path, token("old", "alice", "invoke")))
    write(tmp_path, token("new", "bob", "invoke"))
    tokens.reload()
    assert tokens.identify("Bearer new").tenant == "bob"
    assert refused(tokens, "Bearer old") == "unauthenticated"
    (tmp_path / "tokens.json").write_text("[{")
    tokens.reload()
    assert tokens.identify("Bearer new").tenant == "bob"


@pytest.mark.parametrize(
    "entry",
    [
        {"sha256": "x", "tenant": "a", "scopes": []},
        {"sha256": "0" * 64, "tenant": "", "scopes": []},
        {"sha256": "0" * 64, "tenant": "a", "scopes": ["root"]},
        {"sha256": "0" * 64, "tenant": "a", "scopes": "invoke"},
        {"sha256": "0" * 64, "tenant": "a"},
        {"sha256": "0" * 64, "tenant": "a", "scopes": [], "note": "x"},
        "secret",
    ],
)
def test_a_broken_file_is_refused_with_its_place(tmp_path: Path, entry: object) -> None:
    with pytest.raises(TokensInvalid, match="entry 1"):
        Tokens(write(tmp_path, token("ok", "alice"), entry))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokensInvalid, match=r"tokens\.json"):
        Tokens(tmp_path / "tokens.json")
