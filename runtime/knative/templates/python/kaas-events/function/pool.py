"""The KaaS pool, as a function needs it: it has the bundle in `kernel/`, and runs it. Standard library only."""

import asyncio
import hashlib
import http.client
import io
import json
import os
import ssl
import urllib.error
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files

#: What `func invoke` sends when it is given nothing.
FIRST = {"message": "Hello World"}

#: Calls that wait for the pool at a time, each in a thread; the next ones wait for a thread. It is what a Service of
#: KaaS's own takes. A thread that waits costs 40 KB; asyncio's own number is five on one processor.
CALLS = 64

#: What a Knative function answers to an error. 422 is for all others: the call is to blame, and a Broker gives it up.
STATUSES = {
    "event_invalid": 400,
    "request_invalid": 400,
    "unauthenticated": 401,
    "scope_missing": 403,
    "route_unknown": 404,
    "request_incomplete": 408,
    "event_running": 409,
    "pool_busy": 429,
    "action_unavailable": 503,
    "controller_unreachable": 503,
    "device_unavailable": 503,
    "executor_lost": 503,
    "internal": 503,
    "output_lost": 503,
    "pool_draining": 503,
    "pool_storage_full": 503,
    "pool_unreachable": 503,
    "sandbox_unavailable": 503,
    "store_error": 503,
    "store_not_configured": 503,
    "store_unreachable": 503,
    "toolchain_missing": 503,
}

_BUDGET_SECONDS = 60

#: OpenSSL's numbers for a certificate that is trusted, and is for another host name or address.
_OTHER_NAME = (62, 64)


class PoolError(Exception):
    """What went wrong; `error` is {code, message, hint?, where?}, `status` what a Knative function answers."""

    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']}")
        self.error = error
        self.status = STATUSES.get(error["code"], 422)


class Pool:
    """One pool under one token: KAAS_POOL_URL and KAAS_TOKEN.

    `example` is a call of the kernel action in `kernel/`. Outputs that it wants inline are inline in every call that
    does not say where they go.
    """

    def __init__(self, example, environment=os.environ):
        self._example = example
        self._inline = {name: value for name, value in example.items() if value in ("inline", "base64")}
        self._environment = environment
        self._url = environment.get("KAAS_POOL_URL", "").rstrip("/")
        self._token = environment.get("KAAS_TOKEN", "").strip()
        self._threads = ThreadPoolExecutor(CALLS, thread_name_prefix="call")
        self._bundle = bundle()
        self.digest = f"sha256:{hashlib.sha256(self._bundle).hexdigest()}"
        #: Set by Knative.
        self.name = environment.get("K_SERVICE") or "function"

    async def invoke(self, arguments, identifier=None):
        """Run the kernel action and return its result; the same identifier is not run twice. Raises PoolError."""
        if "outputs" not in arguments:
            arguments = {**self._inline, **arguments}
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, self._invoke, arguments, identifier)
        except PoolError as error:
            if error.error["code"] in ("input_missing", "output_unbound"):
                example, hint = f"for example {json.dumps(self._example)}", error.error.get("hint")
                error.error["hint"] = f"{hint} ({example})" if hint else example
            raise

    async def welcome(self):
        """The answer to the first `func invoke`: how to make a call, and what comes of that one."""
        told = {"hint": f"send for example {json.dumps(self._example)}"}
        try:
            told["example"] = await self.invoke(self._example)
        except PoolError as error:
            told["error"] = error.error
        return told

    def event_id(self, source, identifier):
        """The identifier of an event's call."""
        whole = json.dumps([self.digest, self.name, source, identifier])
        return f"event-{hashlib.sha256(whole.encode()).hexdigest()[:40]}"

    def _invoke(self, arguments, identifier):
        body = {"bundle": self.digest, "arguments": arguments, "budget_ms": _BUDGET_SECONDS * 1000}
        if identifier is not None:
            body["id"] = identifier
        data = json.dumps(body).encode()
        try:
            answer = self._send("POST", "/v1/invocations", data, "application/json")
        except PoolError as error:
            if error.error["code"] != "bundle_unknown":
                raise
            self._send("PUT", f"/v1/bundles/{self.digest}", self._bundle, "application/zip")
            answer = self._send("POST", "/v1/invocations", data, "application/json")
        if answer.get("state") == "done":
            return answer["result"]
        raise PoolError(answer.get("error") or {"code": "internal", "message": f"the pool answered {answer!r}"})

    def _send(self, method, path, data, kind):
        if not self._url:
            raise _unreachable("nothing says where the pool is", "set KAAS_POOL_URL and KAAS_TOKEN")
        if not all(" " <= char <= "~" for char in self._token):
            # Not left to http.client, whose error shows the header.
            raise PoolError({"code": "unauthenticated", "message": "KAAS_TOKEN has what no header can carry"})
        headers = {"Content-Type": kind, "Authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(f"{self._url}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=5 * _BUDGET_SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError as refused:
            try:
                raise PoolError(json.load(refused)["error"]) from None
            except (ValueError, LookupError, TypeError):
                raise _unreachable(f"the pool answered {refused.code} without saying why") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise self._untrusted(reason) from None
            raise _unreachable(f"the pool at {self._url} does not answer: {error}") from None

    def _untrusted(self, error):
        if error.verify_code in _OTHER_NAME:
            hint = "KAAS_POOL_URL has to have a name that the certificate is for"
        else:
            now = self._environment.get("SSL_CERT_FILE")
            hint = "SSL_CERT_FILE has to name the file with its authority's certificate (ca.crt); "
            hint += f"it is {now!r}" if now else "it is not set"
        return _unreachable(f"the certificate of the pool at {self._url} is not trusted: {error.verify_message}", hint)


def bundle():
    """The zip of `kernel/`; equal files give equal bytes, by whose digest the pool knows it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in sorted(_files(files(__package__) / "kernel")):
            archive.writestr(zipfile.ZipInfo(name), data)
    return packed.getvalue()


def _files(folder, prefix=""):
    for path in folder.iterdir():
        if not path.is_dir():
            yield f"{prefix}{path.name}", path.read_bytes()
        # pip makes such a folder where Python lies, and its contents differ each time.
        elif path.name != "__pycache__":
            yield from _files(path, f"{prefix}{path.name}/")


def _unreachable(message, hint="is the pool running, and is this its address?"):
    return PoolError({"code": "pool_unreachable", "message": message, "hint": hint})
