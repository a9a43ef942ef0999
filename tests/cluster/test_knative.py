"""The chart's Services in a cluster that has Knative: called, from nothing, from a Broker, while the pool restarts."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from front_process import SAXPY
from namespace import TRIAL, CommandFailed, Namespace, Release

pytestmark = pytest.mark.timeout(1200)

ARGUMENTS: dict[str, Any] = {"x": [1, 2, 3], "y": [10, 10, 10], "a": 2, "z": "inline"}
ANSWER = [12, 14, 16]

#: Knative looks images up in their registry, but for those of dev.local, kind.local and ko.local.
IMAGE = os.environ.get("KAAS_TEST_ACTION_IMAGE", "dev.local/action-kaas-v1:1")

PEER = """\
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        print(json.dumps({"headers": headers, "body": body.decode()}), flush=True)
        self.send_response(202)
        self.end_headers()
    def log_message(self, *_):
        pass
ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""

POST = """\
import json, sys, urllib.error, urllib.request
url, headers, body = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3].encode()
request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
try:
    answer = urllib.request.urlopen(request, timeout=110)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps({"status": answer.status, "headers": {k.lower(): v for k, v in answer.headers.items()},
                  "body": answer.read().decode()}))
"""


class Peer:
    """A pod that sends requests, and keeps what it is sent at http://peer."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        namespace.pod("peer", PEER, IMAGE)
        spec = {"selector": {"kaas.test/pod": "peer"}, "ports": [{"port": 80, "targetPort": 8080}]}
        namespace.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "peer"}, "spec": spec})

    def post(self, url: str, body: object, **headers: str) -> dict[str, Any]:
        """Its status, headers (names in lower case) and body."""
        dashed = {name.replace("_", "-"): value for name, value in headers.items()}
        words = ("exec", "peer", "--", "python3", "-c", POST, url, json.dumps(dashed), json.dumps(body))
        answer: dict[str, Any] = json.loads(self.namespace.kubectl(*words))
        return answer

    def received(self, name: str, value: str, seconds: int = 120) -> dict[str, Any] | None:
        """What comes with this header, if it comes in time."""
        command = ["kubectl", "--namespace", self.namespace.name, "logs", "--follow", "peer"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            timer = threading.Timer(seconds, process.kill)
            timer.start()
            try:
                for line in process.stdout:
                    one: dict[str, Any] = json.loads(line)
                    if one["headers"].get(name) == value:
                        return one
                return None
            finally:
                timer.cancel()
                process.kill()


def event(id: str, subject: str = "saxpy") -> dict[str, str]:
    return {
        "ce_specversion": "1.0",
        "ce_id": id,
        "ce_source": "/kaas/test",
        "ce_type": "dev.kaas.invoke",
        "ce_subject": subject,
    }


@pytest.fixture(scope="module")
def peer(namespace: Namespace) -> Peer:
    return Peer(namespace)


def service(**more: object) -> Mapping[str, object]:
    named = {"name": "saxpy", "manifest": SAXPY, **more}
    return {**TRIAL, "images.action": IMAGE, "knative.enabled": True, "knative.services": [named]}


@pytest.fixture(scope="module")
def release(namespace: Namespace) -> Release:
    try:
        namespace.kubectl("get", "crd", "services.serving.knative.dev")
    except CommandFailed:
        pytest.skip("this cluster has no Knative Serving")
    made = Release(namespace, "kaas")
    made.upgrade(service())
    made.wait()
    namespace.wait("ksvc/kaas-saxpy", "condition=Ready", 300)
    return made


@pytest.fixture(scope="module")
def url(release: Release) -> str:
    return f"http://kaas-saxpy.{release.namespace.name}.svc.cluster.local"


def test_a_call(peer: Peer, url: str) -> None:
    answer = peer.post(url, ARGUMENTS)
    assert answer["status"] == 200, answer
    assert json.loads(answer["body"])["z"] == ANSWER


def test_an_event(peer: Peer, url: str) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = peer.post(url, ARGUMENTS, **event("direct"), traceparent=trace)
    assert answer["status"] == 200, answer
    assert json.loads(answer["body"])["z"] == ANSWER
    assert answer["headers"]["ce-type"] == "dev.kaas.result"
    assert answer["headers"]["ce-source"] == "/kaas/kaas-saxpy"


def test_from_zero(peer: Peer, url: str, release: Release) -> None:
    # The shortest time without a call that Knative takes.
    release.upgrade(service(annotations={"autoscaling.knative.dev/window": "6s"}))
    release.namespace.wait("ksvc/kaas-saxpy", "jsonpath={.status.latestReadyRevisionName}=kaas-saxpy-00002", 300)
    release.namespace.wait("deployment/kaas-saxpy-00002-deployment", "jsonpath={.spec.replicas}=0", 300)
    answer = peer.post(url, ARGUMENTS)
    assert answer["status"] == 200, answer
    assert json.loads(answer["body"])["z"] == ANSWER


@pytest.fixture(scope="module")
def broker(release: Release, peer: Peer) -> Iterator[str]:
    """The URL of a Broker with a Trigger for the Service, one for what it answers, and a sink for what fails."""
    namespace = release.namespace
    try:
        namespace.kubectl("get", "crd", "brokers.eventing.knative.dev")
    except CommandFailed:
        pytest.skip("this cluster has no Knative Eventing")
    about = {"apiVersion": "eventing.knative.dev/v1"}
    sink = {"ref": {"apiVersion": "v1", "kind": "Service", "name": "peer"}}
    namespace.apply({**about, "kind": "Broker", "metadata": {"name": "default"}})
    namespace.apply(
        {
            **about,
            "kind": "Trigger",
            "metadata": {"name": "results"},
            "spec": {"broker": "default", "filter": {"attributes": {"type": "dev.kaas.result"}}, "subscriber": sink},
        }
    )
    trigger = {"broker": "default", "attributes": {"type": "dev.kaas.invoke"}, "delivery": {"deadLetterSink": sink}}
    release.upgrade(service(trigger=trigger))
    for what in ("broker/default", "trigger/results", "trigger/kaas-saxpy", "ksvc/kaas-saxpy"):
        namespace.wait(what, "condition=Ready", 300)
    yield namespace.get("broker", "default")["status"]["address"]["url"]


def test_a_result_goes_back_to_the_broker(peer: Peer, broker: str) -> None:
    assert peer.post(broker, ARGUMENTS, **event("good", "one"))["status"] == 202
    result = peer.received("ce-subject", "one")
    assert result is not None
    assert result["headers"]["ce-type"] == "dev.kaas.result"
    assert json.loads(result["body"])["z"] == ANSWER


def test_the_callers_fault_ends_as_a_dead_letter(peer: Peer, broker: str) -> None:
    assert peer.post(broker, {"x": [1]}, **event("bad"))["status"] == 202
    dead = peer.received("ce-id", "bad")
    assert dead is not None
    assert dead["headers"]["ce-knativeerrorcode"] == "422"


def test_an_event_outlasts_a_pool_that_restarts(peer: Peer, broker: str, release: Release) -> None:
    release.namespace.kubectl("delete", "pod", "kaas-0", "--grace-period=0", "--force")
    assert peer.post(broker, ARGUMENTS, **event("patient", "two"))["status"] == 202
    result = peer.received("ce-subject", "two")
    assert result is not None
    assert json.loads(result["body"])["z"] == ANSWER
    assert peer.received("ce-id", "patient", 1) is None, "it was no dead letter"


def test_behind_a_certificate(peer: Peer, url: str, release: Release) -> None:
    release.namespace.certificate("pool-tls", f"kaas.{release.namespace.name}.svc")
    before = release.namespace.get("ksvc", "kaas-saxpy")["status"]["latestReadyRevisionName"]
    release.upgrade({**service(), "tls.allowPlaintext": False, "tls.secret": "pool-tls"})
    release.wait()
    release.namespace.wait("ksvc/kaas-saxpy", "condition=Ready", 300)
    after = release.namespace.get("ksvc", "kaas-saxpy")["status"]["latestReadyRevisionName"]
    assert after != before
    answer = peer.post(url, ARGUMENTS)
    assert answer["status"] == 200, answer
    assert json.loads(answer["body"])["z"] == ANSWER
