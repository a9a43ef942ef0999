"""S3 over HTTP: path-style requests, straight between a socket and the caller's memory."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

from kaas.errors import AuthorError, CallerError, PlatformError
from kaas_pool.content import ObjectRange
from kaas_pool.mover.cancellation import Cancellation
from kaas_pool.mover.stores.answers import TransientError, check_answer, unusable
from kaas_pool.mover.stores.connections import Buffer, Connections, Interrupted
from kaas_pool.mover.stores.signing import EMPTY_PAYLOAD, UNSIGNED_PAYLOAD, Signer
from kaas_pool.mover.stores.store import ObjectHead, ObjectName
from kaas_pool.mover.stores_file import StoreRights

#: One PUT's limit in S3; more needs a multipart upload.
MAX_PUT_BYTES = 5 << 30

#: Pauses before the second and third try of a GET.
_BACKOFF_SECONDS = (0.05, 0.25)

#: Heads kept for revalidation, per tenant. Against SeaweedFS on loopback a 304 takes 1.1 ms where the same ranged GET
#: takes 2.5 ms (1.4 ms for an object of one small chunk) and a HEAD 1.2 ms.
_HEADS_BYTES = 16 << 20
_MAX_ERROR_BYTES = 64 << 10

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_ACTIVATION = "x-amz-meta-kaas-activation"

_Result = TypeVar("_Result")


class S3Store:
    """One endpoint under one tenant's rights; see ObjectStore.

    On https the payload goes unsigned, since TLS protects it; on http its SHA-256 is signed.
    """

    def __init__(self, rights: StoreRights, connections: Connections) -> None:
        self._endpoint = rights.endpoint
        self._connections = connections
        self._signer = Signer(rights.access_key, rights.secret_key, rights.session_token, rights.region)
        self._heads = _Heads(_HEADS_BYTES)

    def close(self) -> None:
        """Close idle connections; operations under way end undisturbed."""
        self._connections.close()

    def stat(self, name: ObjectName, head_bytes: int, token: Cancellation) -> ObjectHead:
        """Look at an object with one request; see ObjectStore."""
        if head_bytes <= 0:
            return self._retried(lambda: self._head(name, token), len(_BACKOFF_SECONDS), token)
        return self._retried(lambda: self._ranged_stat(name, head_bytes, token), len(_BACKOFF_SECONDS), token)

    def read(self, item: ObjectRange, into: memoryview, token: Cancellation) -> None:
        """GET a range with If-Match; a cut transfer goes on where it stopped. See ObjectStore."""
        progress = _Progress()
        self._retried(lambda: self._read_on(item, progress, into, token), len(_BACKOFF_SECONDS), token)

    def write(
        self,
        name: ObjectName,
        header: bytes,
        body: memoryview,
        if_match: str | None,
        activation: str,
        token: Cancellation,
    ) -> str:
        """PUT an object; tried twice, since a PUT is idempotent or recognises itself. See ObjectStore."""
        size = len(header) + len(body)
        if size > MAX_PUT_BYTES:
            raise AuthorError(
                "not_supported_yet",
                f"{self._url(name)}: an output of {size} bytes needs a multipart upload, which this release lacks",
                hint=f"split the output into objects of at most {MAX_PUT_BYTES} bytes",
            )
        headers = {
            "Content-Length": str(size),
            "Content-Type": "application/octet-stream",
            _ACTIVATION: activation,
        }
        if if_match is not None:
            headers["If-Match"] = f'"{if_match}"'
        payload = UNSIGNED_PAYLOAD
        if not self._endpoint.startswith("https:"):
            digest = hashlib.sha256(header)
            digest.update(body)
            payload = digest.hexdigest()
        return self._retried(
            lambda: self._put(name, headers, (header, body), payload, if_match, activation, token), 1, token
        )

    def _ranged_stat(self, name: ObjectName, head_bytes: int, token: Cancellation) -> ObjectHead:
        known = self._heads.get((name, head_bytes))
        headers = {"Range": f"bytes=0-{head_bytes - 1}"}
        if known is not None:
            headers["If-None-Match"] = f'"{known.etag}"'
        with self._exchange("GET", name, headers, token) as response:
            if response.status == 304 and known is not None:
                response.read()
                return known
            head = None
            if response.status == 416:
                response.read()
            else:
                self._check(response, name)
                head = self._stat_of(response, name, head_bytes)
        if head is None:
            # No range lies in an empty object, and the 416 carries no ETag.
            head = self._head(name, token)
        self._heads.put((name, head_bytes), head)
        return head

    def _stat_of(self, response: http.client.HTTPResponse, name: ObjectName, head_bytes: int) -> ObjectHead:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status == 206 and found is None:
            raise unusable(f"{self._url(name)}: a partial answer without a usable Content-Range")
        size = int(found[3]) if found is not None else response.length
        if size is None:
            raise unusable(f"{self._url(name)}: an answer without its length")
        expected = min(size, head_bytes)
        data = response.read(expected)
        if len(data) != expected:
            raise Interrupted(f"after {len(data)} of {expected} bytes")
        if not response.length:
            response.read()  # the end, which an empty answer has not reached yet; a longer one drops the connection
        return ObjectHead(self._etag(response, name), size, data, response.headers.get(_ACTIVATION))

    def _head(self, name: ObjectName, token: Cancellation) -> ObjectHead:
        with self._exchange("HEAD", name, {}, token) as response:
            response.read()
            if response.status in (403, 404):
                missing = response.status
            else:
                check_answer(response.status, b"", self._url(name), _region(response))
                size = int(response.headers.get("Content-Length", "0"))
                return ObjectHead(self._etag(response, name), size, b"", response.headers.get(_ACTIVATION))
        # A HEAD's refusal has no body to say which it is: bucket or object, rights or credentials.
        with self._exchange("GET", name, {"Range": "bytes=0-0"}, token) as response:
            self._check(response, name)
        raise unusable(f"{self._url(name)}: HEAD answers {missing}, GET {response.status}")

    def _read_on(self, item: ObjectRange, progress: _Progress, into: memoryview, token: Cancellation) -> None:
        name = ObjectName(item.scheme, item.bucket, item.key, item.version)
        url = self._url(name)
        first, last = item.offset + progress.done, item.offset + item.size - 1
        headers = {"Range": f"bytes={first}-{last}", "If-Match": f'"{item.etag}"'}
        with self._exchange("GET", name, headers, token) as response:
            if response.status == 412:
                response.read()
                raise _changed(url, item.etag)
            if response.status == 416:
                response.read()
                raise _outside(url, item)
            self._check(response, name)
            if self._etag(response, name) != item.etag:
                raise _changed(url, item.etag)
            if response.status == 206:
                found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
                if found is None or int(found[1]) != first:
                    raise unusable(f"{url}: the object store answers another range than asked")
                if int(found[2]) != last:
                    raise _outside(url, item)
            elif first != 0 or response.length != item.size:
                raise unusable(f"{url}: the object store ignores byte ranges")
            while progress.done < item.size:
                with into[progress.done :] as rest:
                    count = response.readinto(rest)
                if not count:
                    raise Interrupted(f"after {progress.done} of {item.size} bytes")
                progress.done += count

    def _put(
        self,
        name: ObjectName,
        headers: Mapping[str, str],
        body: Sequence[Buffer],
        payload: str,
        if_match: str | None,
        activation: str,
        token: Cancellation,
    ) -> str:
        with self._exchange("PUT", name, headers, token, body, payload) as response:
            # 404: deleted meanwhile; 409: another conditional PUT was under way.
            refused = if_match is not None and response.status in (404, 409, 412)
            if refused:
                answer = response.read(_MAX_ERROR_BYTES)
                if b"<Code>NoSuchBucket</Code>" in answer:
                    check_answer(response.status, answer, self._url(name))
            else:
                self._check(response, name)
                response.read()
                if response.headers.get("ETag"):
                    return self._etag(response, name)
        try:
            now = self._head(name, token)
        except CallerError as error:
            if error.code != "object_not_found":
                raise
            now = None
        if now is not None and (now.activation == activation or not refused):
            return now.etag
        raise CallerError(
            "output_conflict",
            f"{self._url(name)}: the object is no longer the version {if_match} that was read",
            hint="somebody else wrote it meanwhile; invoke again to start from the new contents",
        )

    def _check(self, response: http.client.HTTPResponse, name: ObjectName) -> None:
        if response.status >= 300:
            check_answer(response.status, response.read(_MAX_ERROR_BYTES), self._url(name), _region(response))

    def _etag(self, response: http.client.HTTPResponse, name: ObjectName) -> str:
        etag = (response.headers.get("ETag") or "").removeprefix("W/").strip('"')
        if not etag:
            raise unusable(f"{self._url(name)}: an answer without an ETag")
        return etag

    @contextlib.contextmanager
    def _exchange(
        self,
        method: str,
        name: ObjectName,
        headers: Mapping[str, str],
        token: Cancellation,
        body: Sequence[Buffer] = (),
        payload: str = EMPTY_PAYLOAD,
    ) -> Iterator[http.client.HTTPResponse]:
        if not name.bucket or not name.key:
            raise CallerError("reference_invalid", f"{self._url(name)} names no object", hint="write s3://bucket/key")
        target = f"/{quote(name.bucket, safe='~')}/{quote(name.key, safe='/~')}"
        if name.version is not None:
            target += f"?versionId={quote(name.version, safe='~')}"
        signed = self._signer.sign(method, self._endpoint + target, headers, payload)
        try:
            with self._connections.exchange(method, target, signed, body, token) as response:
                yield response
        except Interrupted as cut:
            raise TransientError(
                PlatformError(
                    "store_error",
                    f"{self._url(name)}: the object store cut the connection ({cut})",
                    hint="check the object store's log",
                )
            ) from cut

    @staticmethod
    def _retried(operation: Callable[[], _Result], retries: int, token: Cancellation) -> _Result:
        for pause in _BACKOFF_SECONDS[:retries]:
            try:
                return operation()
            except TransientError:  # noqa: PERF203
                token.sleep(pause)
        try:
            return operation()
        except TransientError as failure:
            raise failure.error from failure

    @staticmethod
    def _url(name: ObjectName) -> str:
        version = f"?versionId={name.version}" if name.version is not None else ""
        return f"{name.scheme}://{name.bucket}/{name.key}{version}"


def _region(response: http.client.HTTPResponse) -> str | None:
    return response.headers.get("x-amz-bucket-region")


def _changed(url: str, etag: str) -> CallerError:
    return CallerError(
        "object_changed",
        f"{url}: the object is no longer the version {etag} that was found when the invocation was accepted",
        hint="invoke again to use the new contents",
    )


def _outside(url: str, item: ObjectRange) -> CallerError:
    return CallerError(
        "size_mismatch",
        f"{url}: bytes {item.offset} to {item.offset + item.size} are not inside the object",
        hint="check offset and size of the reference",
    )


@dataclass
class _Progress:
    """How many bytes of a read have arrived, over all tries."""

    done: int = 0


class _Heads:
    """The most recently used heads, by object and length asked, within a budget of bytes."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._lock = threading.Lock()
        self._heads: OrderedDict[tuple[ObjectName, int], ObjectHead] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[ObjectName, int]) -> ObjectHead | None:
        with self._lock:
            head = self._heads.get(key)
            if head is not None:
                self._heads.move_to_end(key)
            return head

    def put(self, key: tuple[ObjectName, int], head: ObjectHead) -> None:
        with self._lock:
            old = self._heads.pop(key, None)
            if old is not None:
                self._bytes -= _cost(key, old)
            self._heads[key] = head
            self._bytes += _cost(key, head)
            while self._bytes > self._budget_bytes:
                evicted = self._heads.popitem(last=False)
                self._bytes -= _cost(*evicted)


def _cost(key: tuple[ObjectName, int], head: ObjectHead) -> int:
    #: 512: the Python objects around the bytes, roughly.
    return 512 + len(key[0].key) + len(head.head)
