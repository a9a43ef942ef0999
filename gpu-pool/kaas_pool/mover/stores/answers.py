"""S3's answers as KaaS errors (docs/contracts.md, "Errors")."""

from __future__ import annotations

import re

from kaas.errors import CallerError, KaasError, PlatformError

#: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_CREDENTIALS = frozenset(
    {
        "AccountProblem",
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidSecurity",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
_NAMES = frozenset({"InvalidBucketName", "InvalidURI", "KeyTooLongError"})
_TRANSIENT = frozenset({429, 500, 502, 503, 504})
_MAX_QUOTED = 200

_NO_S3 = "check that the endpoint in stores.json is that of an S3 store, with no other server between"

_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")


class TransientError(Exception):
    """An answer that may be another one in a moment; `error` is what to say if it is not."""

    def __init__(self, error: KaasError) -> None:
        super().__init__(error.message)
        self.error = error


def check_answer(status: int, body: bytes, url: str, region: str | None = None) -> None:
    """Raise what an answer means unless it is a success; `url` names the object in the message, `region` is
    what the answer says about the bucket's.

    412 is not an error of this table: its meaning differs between GET and PUT. Raises TransientError around store_error
    for what is worth another try.
    """
    if status < 300:
        return
    text = body.decode("utf-8", "replace")
    code = _first(_CODE, text) or f"HTTP {status}"
    says = _first(_MESSAGE, text)[:_MAX_QUOTED]
    reply = f"{code}: {says}" if says else code
    if code == "NoSuchBucket":
        raise CallerError("bucket_not_found", f"{url}: the bucket does not exist", hint="check the bucket's name")
    if status == 404 or code == "MethodNotAllowed":  # the latter: a version that marks a deletion
        raise CallerError("object_not_found", f"{url}: no such object", hint="check the key, and the version if given")
    if code in _CREDENTIALS:
        raise PlatformError(
            "store_not_configured",
            f"{url}: the object store does not accept this tenant's credentials ({reply})",
            hint="correct the tenant's entry in stores.json and send the mover a SIGHUP",
        )
    if code == "RequestTimeTooSkewed":
        raise PlatformError("store_error", f"{url}: {reply}", hint="set the clocks of the pool and the store")
    if status == 403:
        raise CallerError(
            "object_forbidden",
            f"{url}: the object store refuses access ({reply})",
            hint="is the bucket right? A store may refuse so where there is none; "
            "else grant the tenant's access key the right to this bucket or key",
        )
    if code in _NAMES:
        raise CallerError("reference_invalid", f"{url}: {reply}", hint="check the bucket's name and the key")
    if status in (301, 307, 308):
        raise PlatformError(
            "store_error",
            f"{url}: the object store redirects ({reply})",
            hint=f"set the tenant's endpoint and region in stores.json{f' (region {region})' if region else ''}",
        )
    is_transient = status in _TRANSIENT or code == "RequestTimeout"
    hint = "try again later: the object store is overloaded or out of order" if is_transient else _NO_S3
    error = PlatformError("store_error", f"{url}: the object store answers {status} ({reply})", hint=hint)
    if is_transient:
        raise TransientError(error)
    raise error


def unusable(message: str) -> PlatformError:
    """`store_error` for an answer that no S3 store gives."""
    return PlatformError("store_error", message, hint=_NO_S3)


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1].strip() if found else ""
