"""AWS Signature Version 4 for S3, by botocore's signer."""

from __future__ import annotations

from collections.abc import Mapping

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_PAYLOAD = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class _Auth(S3SigV4Auth):
    """Takes the payload's digest from the caller, who has the payload in parts."""

    def payload(self, request: AWSRequest) -> str:
        return str(request.context["payload"])


class Signer:
    """Signs requests with one key pair."""

    def __init__(self, access_key: str, secret_key: str, session_token: str | None, region: str) -> None:
        self._credentials = Credentials(access_key, secret_key, session_token)
        self._region = region

    def sign(self, method: str, url: str, headers: Mapping[str, str], payload: str) -> dict[str, str]:
        """The headers to send: the given ones and the signature's. `payload` is a SHA-256 in hex or
        UNSIGNED_PAYLOAD; `url` is quoted as it will be sent."""
        request = AWSRequest(method=method, url=url, headers=dict(headers))
        request.context["payload"] = payload
        _Auth(self._credentials, "s3", self._region).add_auth(request)
        return dict(request.headers.items())
