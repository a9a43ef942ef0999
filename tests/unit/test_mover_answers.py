"""What S3's answers mean to a user of KaaS."""

from __future__ import annotations

import pytest

from kaas.errors import KaasError
from kaas_pool.mover.stores.answers import TransientError, check_answer


def meaning(status: int, code: str = "", region: str | None = None) -> KaasError:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>why not</Message></Error>" if code else ""
    try:
        check_answer(status, body.encode(), "s3://b/k", region)
    except KaasError as error:
        return error
    raise AssertionError("no error")


@pytest.mark.parametrize("status", [200, 204, 206])
def test_a_success_is_none(status: int) -> None:
    check_answer(status, b"", "s3://b/k")


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "NoSuchBucket", "bucket_not_found"),
        (404, "NoSuchKey", "object_not_found"),
        (404, "NoSuchVersion", "object_not_found"),
        (404, "", "object_not_found"),
        (405, "MethodNotAllowed", "object_not_found"),
        (403, "AccessDenied", "object_forbidden"),
        (403, "", "object_forbidden"),
        (403, "SignatureDoesNotMatch", "store_not_configured"),
        (403, "InvalidAccessKeyId", "store_not_configured"),
        (400, "ExpiredToken", "store_not_configured"),
        (403, "RequestTimeTooSkewed", "store_error"),
        (400, "InvalidBucketName", "reference_invalid"),
        (400, "KeyTooLongError", "reference_invalid"),
        (301, "PermanentRedirect", "store_error"),
        (400, "SomethingNew", "store_error"),
        (501, "NotImplemented", "store_error"),
    ],
)
def test_an_answer_that_stays(status: int, code: str, expected: str) -> None:
    error = meaning(status, code)
    assert error.code == expected and "s3://b/k" in error.message


def test_a_refusal_names_both_causes() -> None:
    hint = meaning(403, "AccessDenied").hint or ""
    assert "is the bucket right?" in hint and "grant the tenant's access key" in hint


@pytest.mark.parametrize(
    ("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (503, ""), (429, ""), (400, "RequestTimeout")]
)
def test_an_answer_that_may_change(status: int, code: str) -> None:
    with pytest.raises(TransientError) as caught:
        check_answer(status, f"<Code>{code}</Code>".encode(), "s3://b/k")
    assert caught.value.error.code == "store_error" and str(status) in caught.value.error.message


def test_a_redirect_says_where_to() -> None:
    assert "eu-north-1" in (meaning(301, "PermanentRedirect", "eu-north-1").hint or "")


def test_a_long_or_binary_answer_is_quoted_in_part() -> None:
    with pytest.raises(KaasError) as caught:
        check_answer(400, b"<Code>Odd</Code><Message>" + b"\xff" * 10_000 + b"</Message>", "s3://b/k")
    assert len(caught.value.message) < 500
