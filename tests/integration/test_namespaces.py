"""Several namespaces on one machine, `kaas up --namespace`: what one has from another, by every way there is."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError
from front_process import IN_PLACE, HttpClient
from kaas_command import kaas
from openwhisk_process import OpenWhiskClient, Reply
from pool_calls import done, get, put, refused
from seaweed import S3Client
from test_local_stack import s3_client
from test_openwhisk_stack import PROVIDE, create_saxpy
from test_proxy_kernels import ECHO

from kaas.bundle import Bundle

ONES = np.ones(4, np.float32)
SAXPY = Path(__file__).parents[2] / "examples" / "saxpy"
RESULT = "blocking=true&result=true"


@dataclass(frozen=True)
class Member:
    """A namespace of the stack, by the variables that `kaas env` prints for it."""

    name: str
    variables: dict[str, str]
    s3: S3Client

    @property
    def pool(self) -> HttpClient:
        """The pool's own API under its token."""
        return HttpClient(_port(self.variables["KAAS_POOL_URL"]), self.variables["KAAS_TOKEN"])

    @property
    def api(self) -> OpenWhiskClient:
        """The OpenWhisk API under its key."""
        return OpenWhiskClient(
            _port(self.variables["WHISK_APIHOST"]), {self.name: self.variables["WHISK_AUTH"]}, self.name
        )

    def invoke_of(self, other: Member, action: str, arguments: dict[str, Any]) -> Reply:
        """Invoke another's action by its whole name."""
        path = f"/api/v1/namespaces/{other.name}/actions/{action}?{RESULT}"
        return self.api.send("POST", path, arguments, key=self.variables["WHISK_AUTH"])


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def variables_of(environment: dict[str, str], *words: str) -> dict[str, str]:
    """What `kaas env` prints."""
    printed = kaas("env", *words, environment=environment)
    assert printed.returncode == 0, printed.stderr
    lines = [line.removeprefix("export ") for line in printed.stdout.splitlines() if not line.startswith("#")]
    return dict(shlex.split(line)[0].split("=", 1) for line in lines)


KEYS = ("KAAS_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "WHISK_AUTH")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A stack that was started with alice, and again with bob."""
    environment = {"KAAS_STATE_DIR": str(tmp_path_factory.mktemp("namespaces") / "state")}
    try:
        assert kaas("up", "--namespace", "alice", environment=environment).returncode == 0
        before = {name: variables_of(environment, "--namespace", name) for name in ("guest", "alice")}
        kaas("down", environment=environment)
        started = kaas("up", "--namespace", "bob", environment=environment)
        assert started.returncode == 0, started.stderr
        for words in ("s3://data and s3://out", "s3://alice-data and s3://alice-out", "s3://shared"):
            assert words in started.stdout
        assert 'eval "$(kaas env --namespace bob)"' in started.stdout
        for name, variables in before.items():
            after = variables_of(environment, "--namespace", name)
            assert {key: after[key] for key in KEYS} == {key: variables[key] for key in KEYS}
        assert variables_of(environment) == variables_of(environment, "--namespace", "guest")
        yield environment
    finally:
        kaas("down", environment=environment)


@pytest.fixture(scope="module")
def members(here: dict[str, str]) -> Iterator[tuple[Member, Member]]:
    """alice and bob."""
    found = []
    for name in ("alice", "bob"):
        variables = variables_of(here, "--namespace", name)
        found.append(Member(name, variables, s3_client(variables)))
    alice, bob = found
    yield alice, bob
    for member in found:
        member.s3.close()


def test_every_key_is_ones_own(here: dict[str, str]) -> None:
    found = [variables_of(here, "--namespace", name) for name in ("guest", "alice", "bob")]
    assert all(len({variables[key] for variables in found}) == 3 for key in KEYS)


@pytest.mark.parametrize("words", [("env", "--namespace", "carol"), ("up", "--namespace", "bob,carol")])
def test_a_namespace_that_is_not_there(here: dict[str, str], words: tuple[str, ...]) -> None:
    said = kaas(*words, environment=here)
    assert (said.returncode, said.stdout) == (1, "")
    assert "no namespace 'carol', only guest, alice, bob" in said.stderr
    assert "kaas up --namespace" in said.stderr
    assert kaas("up", "--namespace", "bob", "--namespace", "alice", environment=here).stdout.startswith("runs already")


def test_a_name_that_cannot_be(tmp_path: Path) -> None:
    said = kaas("up", "--namespace", "alice,Bob", environment={"KAAS_STATE_DIR": str(tmp_path / "state")})
    assert said.returncode == 2
    assert "'Bob' is no namespace: small letters" in said.stderr


def test_objects(members: tuple[Member, Member], name: str) -> None:
    alice, bob = members
    put(alice.s3, f"{name}/x", ONES, "alice-data")
    shared = put(alice.s3, f"alice/{name}/x", ONES, "shared")
    np.testing.assert_array_equal(get(bob.s3, shared), ONES)
    put(bob.s3, f"bob/{name}/x", ONES, "shared")
    tries: list[Callable[[], object]] = [
        lambda: get(bob.s3, f"s3://alice-data/{name}/x"),
        lambda: bob.s3.list_objects_v2(Bucket="alice-data"),
        lambda: put(bob.s3, "x", ONES, "alice-out"),
        lambda: put(bob.s3, "x", ONES, "data"),
        lambda: put(bob.s3, f"alice/{name}/x", ONES, "shared"),
        lambda: put(bob.s3, "bobby/x", ONES, "shared"),
        lambda: bob.s3.delete_object(Bucket="shared", Key=f"alice/{name}/x"),
    ]
    for attempt in tries:
        with pytest.raises(ClientError) as refusal:
            attempt()
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_actions_and_activations(members: tuple[Member, Member]) -> None:
    alice, bob = members
    create_saxpy(alice.api, "private", annotations=PROVIDE)
    call = {"x": [1, 2], "y": [1, 1], "a": 2, "z": "inline"}
    invoked = alice.api.invoke("private", call)
    assert invoked.body["response"]["result"]["z"] == [3, 5]
    for method, path in (
        ("GET", "actions/private"),
        ("POST", "actions/private"),
        ("DELETE", "actions/private"),
        ("GET", f"activations/{invoked.activation_id}"),
        ("GET", f"activations/{invoked.activation_id}/logs"),
    ):
        assert bob.api.call(method, path).status == 404
        whole = f"/api/v1/namespaces/alice/{path}"
        assert bob.api.send(method, whole, key=bob.variables["WHISK_AUTH"]).status == 403
    for collection in ("actions", "activations", "packages"):
        assert bob.api.call("GET", collection).body == []
    # The pool knows the namespace of a key by the API, and an activation by its id.
    assert alice.pool.get(f"/v1/invocations/{invoked.activation_id}").body["state"] == "done"
    assert bob.pool.get(f"/v1/invocations/{invoked.activation_id}").code == "invocation_unknown"
    vouching = bob.pool.request("GET", f"/v1/invocations/{invoked.activation_id}", headers={"KaaS-Tenant": "alice"})
    assert vouching.code == "scope_missing"
    digest = alice.pool.upload(Bundle.pack(SAXPY))
    refused(bob.pool.invoke(digest, call), "bundle_unknown")
    assert {row["tenant"] for row in bob.pool.get("/v1/tenants").body["tenants"]} <= {"bob"}


def test_what_one_has_cached_is_never_served_to_another(members: tuple[Member, Member], name: str) -> None:
    alice, bob = members
    secret = put(alice.s3, f"{name}/x.npy", 7 * ONES, "alice-data")
    shared = put(alice.s3, f"alice/{name}/x.npy", 5 * ONES, "shared")
    for member in members:
        code = base64.b64encode(ECHO.encode()).decode()
        member.api.create("echo", code, "kaas:1", annotations=PROVIDE)

    def echo(member: Member, source: str, kaas: object = None) -> Reply:
        return member.api.invoke("echo", {"x": source, "z": "inline", "kaas": kaas}, RESULT)

    for reference, value in ((secret, 7.0), (shared, 5.0)):
        for hits in (0, 1):
            mine = echo(alice, reference).body
            assert (mine["z"], mine["kaas"]["stats"]["device_hits"]) == ([value] * 4, hits)
    written = alice.api.invoke("echo", {"x": secret, "z": f"s3://alice-out/{name}/z.npy"}, RESULT).body
    for source, handed_on in ((secret, None), (written["z"], None), (written["z"], written["kaas"])):
        theirs = echo(bob, source, handed_on)
        assert theirs.body["error"]["code"] == "object_forbidden", theirs
    for hits in (0, 1):
        theirs = echo(bob, shared)
        stats = theirs.body["kaas"]["stats"]
        assert (theirs.body["z"], stats["device_hits"], stats["misses"]) == ([5.0] * 4, hits, 1 - hits)
        assert stats["host_hits"] == 0


def test_a_shared_actions_references_are_read_with_the_callers_rights(
    members: tuple[Member, Member], name: str
) -> None:
    """Whoever has written them: the manifest, the package's parameters, the action's, the call."""
    alice, bob = members
    places = {
        "secret": put(alice.s3, f"{name}/w.npy", 3 * ONES[:1], "alice-data"),
        "open": put(alice.s3, f"alice/{name}/w.npy", 3 * ONES[:1], "shared"),
    }
    where = {"manifest": "kaas.yaml:5", "package": "arguments.w", "action": "arguments.w", "call": "arguments.w"}
    for kind, w in places.items():
        bound = [{"key": "w", "value": w}]
        for origin, place in where.items():
            package = f"{origin}-{kind}"
            body = {"publish": True, "parameters": bound if origin == "package" else []}
            assert alice.api.call("PUT", f"packages/{package}?overwrite=true", body).status == 200
            manifest = IN_PLACE.replace("shape: [1]}", f"shape: [1], from: '{w}'}}") + "rights: caller\n"
            text = manifest if origin == "manifest" else IN_PLACE
            code = base64.b64encode(text.encode()).decode()
            own = bound if origin == "action" else []
            alice.api.create(f"{package}/scale", code, "kaas:1", annotations=PROVIDE, parameters=own)
            call = {"x": {"from": [2.0], "to": "inline"}, **({"w": w} if origin == "call" else {})}
            assert alice.invoke_of(alice, f"{package}/scale", call).body["x"] == [6.0]
            theirs = bob.invoke_of(alice, f"{package}/scale", call)
            if kind == "open":
                assert theirs.body["x"] == [6.0], theirs
                assert bob.pool.get(f"/v1/invocations/{theirs.activation_id}").body["state"] == "done", "bob's own"
            else:
                error = theirs.body["error"]
                assert error["code"] == "object_forbidden"
                assert error["where"].startswith(place)
                assert w in error["message"]


def test_a_shared_action_writes_with_the_callers_rights(members: tuple[Member, Member], name: str) -> None:
    alice, bob = members
    assert alice.api.call("PUT", "packages/public?overwrite=true", {"publish": True}).status == 200
    code = base64.b64encode(ECHO.encode()).decode()
    bound = [{"key": "outputs", "value": f"s3://alice-out/{name}"}]
    alice.api.create("public/echo", code, "kaas:1", annotations=PROVIDE, parameters=bound)
    call = {"x": [1, 2]}
    assert alice.invoke_of(alice, "public/echo", call).body["z"].startswith(f"s3://alice-out/{name}/")
    assert bob.invoke_of(alice, "public/echo", call).body["error"]["code"] == "object_forbidden"
    mine = bob.invoke_of(alice, "public/echo", {**call, "outputs": f"s3://bob-out/{name}"}).body
    assert get(bob.s3, mine["z"]).tolist() == [1, 2]


def test_a_sequence_with_anothers_action(members: tuple[Member, Member], name: str) -> None:
    alice, bob = members
    assert alice.api.call("PUT", "packages/steps?overwrite=true", {"publish": True}).status == 200
    code = base64.b64encode(ECHO.encode()).decode()
    alice.api.create("steps/echo", code, "kaas:1", annotations=PROVIDE)
    bob.api.create("begin", "def main(args): return {'x': args['x'], 'z': args['z'], 'a': 3}")
    exec_ = {"kind": "sequence", "components": ["/bob/begin", "/alice/steps/echo"]}
    assert bob.api.call("PUT", "actions/both?overwrite=true", {"exec": exec_}).status == 200
    target = f"s3://bob-out/{name}/z.npy"
    reply = bob.api.invoke("both", {"x": put(bob.s3, f"{name}/x.npy", ONES, "bob-data"), "z": target}, RESULT)
    assert reply.body["z"] == target, reply
    np.testing.assert_array_equal(get(bob.s3, target), 3 * ONES)
    theirs = put(alice.s3, f"{name}/x.npy", ONES, "alice-data")
    assert bob.api.invoke("both", {"x": theirs, "z": target}, RESULT).body["error"]["code"] == "object_forbidden"


def test_one_bundle_of_two_tenants(members: tuple[Member, Member], name: str) -> None:
    """Whoever uploads the bytes that another has may use them, and nothing of the other's with them."""
    alice, bob = members
    w = put(alice.s3, f"{name}/w.npy", 3 * ONES[:1], "alice-data")
    manifest = IN_PLACE.replace("shape: [1]}", f"shape: [1], from: '{w}'}}")
    arguments = {"x": {"from": [2.0], "to": "inline"}}
    digest = alice.pool.upload(manifest)
    assert done(alice.pool.invoke(digest, arguments))["x"] == [6.0]
    refused(bob.pool.invoke(bob.pool.upload(manifest), arguments), "object_forbidden", message=w)
