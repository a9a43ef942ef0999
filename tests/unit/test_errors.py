"""The hierarchy, the table and the page that shows it agree."""

from __future__ import annotations

import pickle

import pytest

from kaas.errors import ERRORS, AuthorError, CallerError, KaasError, PlatformError


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_every_code_travels_through_json_and_pickle(code: str) -> None:
    original = KaasError.from_json({"code": code, "message": "m", "hint": "h", "where": "kaas.yaml:3 buffers.x"})
    for copy in (KaasError.from_json(original.to_json()), pickle.loads(pickle.dumps(original))):
        assert type(copy) is type(original)
        assert copy.to_json() == {"code": code, "message": "m", "hint": "h", "where": "kaas.yaml:3 buffers.x"}
    expected = {"author": AuthorError, "caller": CallerError, "platform": PlatformError}[ERRORS[code].blame]
    assert type(original) is expected


def test_a_class_that_does_not_fit_the_code_is_a_defect() -> None:
    with pytest.raises(TypeError, match="platform"):
        CallerError("pool_busy", "m")
    with pytest.raises(KeyError):
        CallerError("no_such_code", "m")


def test_a_code_of_a_newer_pool_is_kept_readable() -> None:
    error = KaasError.from_json({"code": "from_the_future", "message": "m"})
    assert isinstance(error, PlatformError)
    assert error.code == "internal"
    assert "from_the_future" in error.message


#: What is wrong with a request, not with a call.
HTTP_S = ("not_initialized", "request_invalid", "request_incomplete", "route_unknown")


def test_the_table_keeps_openwhisk_s_rules() -> None:
    for code, row in ERRORS.items():
        assert row.blame in ("author", "caller", "platform"), code
        assert row.retry in ("nobody", "caller", "client", "platform"), code
        # 503 makes OpenWhisk destroy the container and reschedule: never ours to ask for.
        assert 503 not in (row.init, row.run), code
        if row.blame != "platform" and code not in HTTP_S:
            assert row.run in (200, None), code
        # A Broker delivers again on 5xx and 429: never for the caller's fault.
        if row.blame != "platform" and row.knative is not None:
            assert 400 <= row.knative < 500 and row.knative != 429, code
