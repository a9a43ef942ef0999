"""The KaaS pool, as a function needs it: it has the bundle in `kernel/`, and runs it. Standard library only."""

import hashlib
import http.client
import io
import json
import os
import urllib.error
import urllib.request
import zipfile
from importlib.resources import files

#: Errors after which trying again may help: the pool, its store or its devices are to blame, not the call.
OURS = frozenset(
    {
        "controller_unreachable",
        "device_unavailable",
        "executor_lost",
        "internal",
        "output_lost",
        "pool_draining",
        "pool_storage_full",
        "pool_unreachable",
        "sandbox_unavailable",
        "store_error",
        "store_not_configured",
        "store_unreachable",
        "toolchain_missing",
    }
)

_BUDGET_SECONDS = 60


class PoolError(Exception):
    """What went wrong; `error` is {code, message, hint?, where?}, `status` what a Knative function answers."""

    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']}")
        self.error = error
        code = error["code"]
        self.status = 429 if code == "pool_busy" else 503 if code in OURS else 422


class Pool:
    """One pool under one token: KAAS_POOL_URL and KAAS_TOKEN. Its methods block; call them in a thread."""

    def __init__(self, environment=os.environ):
        self._url = environment.get("KAAS_POOL_URL", "").rstrip("/")
        self._token = environment.get("KAAS_TOKEN", "").strip()
        self._bundle = bundle()
        self.digest = f"sha256:{hashlib.sha256(self._bundle).hexdigest()}"

    def invoke(self, arguments, identifier=None):
        """Run the kernel action and return its result; the same identifier is not run twice. Raises PoolError."""
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

    def event_id(self, source, identifier):
        """The identifier of an event's call."""
        whole = json.dumps([self.digest, source, identifier])
        return f"event-{hashlib.sha256(whole.encode()).hexdigest()[:40]}"

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
            raise _unreachable(f"the pool at {self._url} does not answer: {error}") from None


def bundle():
    """The zip of `kernel/`; equal files give equal bytes, by whose digest the pool knows it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted((files(__package__) / "kernel").iterdir(), key=lambda one: one.name):
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
    return packed.getvalue()


def _unreachable(message, hint="is the pool running, and is this its address?"):
    return PoolError({"code": "pool_unreachable", "message": message, "hint": hint})
