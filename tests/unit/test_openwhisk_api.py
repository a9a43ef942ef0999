"""The routes of the local OpenWhisk API: statuses, words, shapes; its containers are scripted."""

from __future__ import annotations

from pathlib import Path

import pytest
from openwhisk_api import GUEST, OTHER, Api, Reply, expect, run

ACTIONS = "/namespaces/_/actions"
PYTHON = {"exec": {"kind": "python:3", "code": "x"}}


def test_every_answer_has_a_transaction_and_the_headers(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        for path in ("/api/v1", "/api/v1/namespaces", "/nowhere", "/api/v1/namespaces/_/actions/a"):
            reply = await api.send("GET", path, key=GUEST)
            assert len(reply.headers["x-request-id"]) == 32
            assert reply.headers["access-control-allow-origin"] == "*"
            assert "Authorization" in reply.headers["access-control-allow-headers"]
            assert reply.headers["access-control-allow-methods"] == "GET, DELETE, POST, PUT, HEAD"
        kept = await api.call("GET", "/namespaces", headers={"x-request-id": "mine"})
        assert kept.headers["x-request-id"] == "mine"
        system = await api.call("GET", "/namespaces", headers={"x-request-id": "sid_mine"})
        assert system.headers["x-request-id"] != "sid_mine"
        options = await api.send("OPTIONS", "/api/v1/namespaces/_/actions/a")
        assert (options.status, options.body) == (200, b"")
        assert options.headers["access-control-allow-origin"] == "*"

    run(tmp_path, script)


def test_what_needs_no_key(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        assert (await api.send("GET", "/ping")).body == b"pong"
        about = (await api.send("GET", "/")).json
        assert about["api_paths"] == ["/api/v1"]
        assert set(about["runtimes"]) == {"kaas", "python", "nodejs"}
        assert about["limits"]["sequence_length"] == 50
        assert about["limits"]["max_action_memory"] == 512 << 20
        assert about["limits"]["default_action_duration"] == 60_000
        assert (await api.send("GET", "/api/v1")).json["api_version_path"] == "v1"

    run(tmp_path, script)


@pytest.mark.parametrize(
    ("authorization", "text"),
    [
        (None, "The resource requires authentication, which was not supplied with the request"),
        ("Basic bm9ib2R5OmtleQ==", "The supplied authentication is invalid"),
        ("Basic !", "The supplied authentication is invalid"),
        ("Bearer abc", "The supplied authentication is invalid"),
    ],
)
def test_credentials(tmp_path: Path, authorization: str | None, text: str) -> None:
    async def script(api: Api) -> None:
        headers = {} if authorization is None else {"authorization": authorization}
        for method, path in (("GET", "/namespaces"), ("PUT", f"{ACTIONS}/a"), ("GET", "/namespaces/_/limits")):
            reply = await api.call(method, path, PYTHON, key=None, headers=headers)
            expect(reply, 401, text)
            assert reply.headers["www-authenticate"] == 'Basic realm="OpenWhisk secure realm"'

    run(tmp_path, script)


def test_a_namespace_and_what_is_another_ones(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        await api.create("a")
        assert (await api.call("GET", "/namespaces")).json == ["guest"]
        assert (await api.call("GET", "/namespaces", key=OTHER)).json == ["other"]
        assert (await api.call("GET", "/namespaces/guest/actions/a")).status == 200
        for method, path, resource in (
            ("GET", "/namespaces/guest/actions/a", "guest/a"),
            ("PUT", "/namespaces/guest/actions/p/a", "guest/p/a"),
            ("POST", "/namespaces/guest/actions/a", "guest/a"),
            ("DELETE", "/namespaces/guest/actions/a", "guest/a"),
            ("GET", "/namespaces/guest/activations", "guest"),
            ("GET", "/namespaces/guest/actions", "guest"),
            ("GET", "/namespaces/guest/actions/p/", "guest/p"),
            ("GET", "/namespaces/guest/packages/p", "guest/p"),
            ("GET", "/namespaces/guest/packages/a", "guest/a"),
            ("PUT", "/namespaces/guest/packages/p", "guest/p"),
            ("GET", "/namespaces/guest/limits", "guest"),
        ):
            reply = await api.call(method, path, PYTHON, key=OTHER)
            expect(reply, 403, f"The supplied authentication is not authorized to access '{resource}'.")
        expect(
            await api.call("GET", "/namespaces/_/actions/a", key=OTHER), 404, "The requested resource does not exist."
        )
        limits = (await api.call("GET", "/namespaces/_/limits")).json
        assert (limits["maxActionMemory"], limits["minActionTimeout"]) == (512, 100)

    run(tmp_path, script)


def test_a_published_package_is_for_all(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        packages, inside = "/namespaces/guest/packages", "/namespaces/guest/actions/p"
        for package, publish in (("p", True), ("q", False)):
            body = {"publish": publish, "parameters": [{"key": "x", "value": 1}]}
            assert (await api.call("PUT", f"{packages}/{package}", body)).status == 200
            await api.create(f"{package}/a")
        listed = await api.call("GET", packages, key=OTHER)
        assert [one["name"] for one in listed.json] == ["p"]
        assert (await api.call("GET", packages, key=OTHER, query="count=true")).json == {"packages": 1}
        assert [one["name"] for one in (await api.call("GET", packages)).json] == ["q", "p"]
        assert (await api.call("GET", packages, query="skip=1&limit=5")).json == listed.json
        assert (await api.call("GET", f"{packages}/p", key=OTHER)).json["actions"][0]["name"] == "a"
        assert [one["name"] for one in (await api.call("GET", f"{inside}/", key=OTHER)).json] == ["a"]
        assert (await api.call("GET", f"{inside}/a", key=OTHER)).json["exec"]["code"] == "# p/a"
        expect(await api.call("GET", f"{inside}/b", key=OTHER), 404, "The requested resource does not exist.")
        done = await api.call("POST", f"{inside}/a", {"y": 2}, key=OTHER, query="blocking=true")
        assert done.json["response"]["result"] == {"x": 1, "y": 2}
        assert done.json["namespace"] == "other", "the record is the caller's"
        assert {"key": "path", "value": "guest/p/a"} in done.json["annotations"]
        assert (await api.call("GET", f"/namespaces/_/activations/{done.json['activationId']}")).status == 404
        for method, path in (
            ("GET", "/namespaces/guest/actions/q/a"),
            ("POST", "/namespaces/guest/actions/q/a"),
            ("PUT", f"{inside}/a"),
            ("DELETE", f"{inside}/a"),
            ("DELETE", f"{packages}/p"),
        ):
            refused = await api.call(method, path, PYTHON, key=OTHER)
            resource = path.removeprefix("/namespaces/").replace("/actions", "").replace("/packages", "")
            expect(refused, 403, f"The supplied authentication is not authorized to access '{resource}'.")
        await api.call("PUT", f"{packages}/p", {"publish": False}, query="overwrite=true")
        assert (await api.call("POST", f"{inside}/a", {}, key=OTHER)).status == 403, "when it is taken back"

    executable, call = run(tmp_path, script).containers.calls[0]
    assert (executable.namespace, call.namespace) == ("guest", "other")


def test_a_sequence_of_anothers_published_actions(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        for package, publish in (("p", True), ("q", False)):
            assert (await api.call("PUT", f"/namespaces/_/packages/{package}", {"publish": publish})).status == 200
            await api.create(f"{package}/a")
        await api.create_sequence("p/hidden", "/_/q/a")

        async def put(*components: str) -> Reply:
            body = {"exec": {"kind": "sequence", "components": list(components)}}
            return await api.call("PUT", "/namespaces/_/actions/s", body, key=OTHER, query="overwrite=true")

        assert (await put("/guest/p/a")).status == 200
        done = await api.call("POST", "/namespaces/_/actions/s", {"y": 2}, key=OTHER, query="blocking=true&result=true")
        assert done.json == {"y": 2}
        refused = "The supplied authentication is not authorized to access 'guest/q/a'."
        for components in (["/guest/q/a"], ["/guest/p/a", "/guest/p/hidden"]):
            expect(await put(*components), 403, refused)
        expect(await api.call("POST", "/namespaces/guest/actions/p/hidden", {}, key=OTHER), 403, refused)
        assert (await api.invoke("p/hidden")).status == 200, "to its owner it is nothing special"
        await api.call("PUT", "/namespaces/_/packages/p", {"publish": False}, query="overwrite=true")
        expect(await api.call("POST", "/namespaces/_/actions/s", {}, key=OTHER), 403, refused.replace("/q/", "/p/"))

    run(tmp_path, script)


def test_the_life_of_an_action(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        created = await api.create("a", parameters=[{"key": "x", "value": 1}])
        assert created.status == 200
        assert (created.json["version"], created.json["exec"]["code"]) == ("0.0.1", "# a")
        expect(await api.create("a"), 409, "resource already exists")
        without = (await api.call("GET", f"{ACTIONS}/a", query="code=false")).json
        assert without == {**created.json, "exec": {"kind": "python:3", "binary": False}}
        assert (await api.call("GET", f"{ACTIONS}/a")).json == created.json
        updated = await api.call("PUT", f"{ACTIONS}/a", {"publish": True}, query="overwrite=true")
        assert (updated.json["version"], updated.json["exec"]["code"]) == ("0.0.2", "# a")
        assert (await api.call("DELETE", f"{ACTIONS}/a")).json == updated.json
        expect(await api.call("GET", f"{ACTIONS}/a"), 404, "The requested resource does not exist.")
        expect(await api.call("DELETE", f"{ACTIONS}/a"), 404, "The requested resource does not exist.")
        assert (await api.create("a")).json["version"] == "0.0.1"

    api = run(tmp_path, script)
    assert api.containers.stopped == ["guest/a"] * 4, "whenever its process has become stale"


def test_names_with_spaces_and_signs(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        assert (await api.create("a b@c.d&e-f")).json["name"] == "a b@c.d&e-f"
        expect(await api.create("-a"), 400, "The name of the entity contains illegal characters.")
        expect(await api.call("GET", "/namespaces/a*/actions"), 400, "The namespace contains illegal characters.")

    run(tmp_path, script)


def test_packages(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        packages = "/namespaces/_/packages"
        expect(await api.create("p/a"), 404, "The requested resource does not exist.")
        bound = {"parameters": [{"key": "x", "value": 1}, {"key": "y", "value": 2}]}
        assert (await api.call("PUT", f"{packages}/p", {"namespace": "_", "name": "p", **bound})).status == 200
        expect(await api.call("PUT", f"{packages}/p", {}), 409, "resource already exists")
        expect(await api.call("PUT", f"{packages}/default", {}), 400, "Package name 'default' is reserved.")
        action = (await api.create("p/a", parameters=[{"key": "y", "value": 3}])).json
        assert action["namespace"] == "guest/p"
        assert action["parameters"] == [{"key": "y", "value": 3}]
        shown = (await api.call("GET", f"{ACTIONS}/p/a")).json
        assert {one["key"]: one["value"] for one in shown["parameters"]} == {"x": 1, "y": 3}
        package = (await api.call("GET", f"{packages}/p")).json
        assert [one["name"] for one in package["actions"]] == ["a"]
        assert package["feeds"] == []
        assert [one["name"] for one in (await api.call("GET", f"{ACTIONS}/p/")).json] == ["a"]
        expect(await api.call("GET", f"{ACTIONS}/q/"), 404, "The requested resource does not exist.")
        text = "Resource by this name exists but is not in this collection."
        expect(await api.create("p"), 409, text)
        expect(await api.call("GET", f"{packages}/refresh"), 404, "The requested resource does not exist.")
        assert (await api.call("POST", f"{packages}/refresh")).status == 405
        done = await api.invoke("p/a", {"z": 4}, "blocking=true&result=true")
        assert done.json == {"x": 1, "y": 3, "z": 4}
        refused = await api.call("DELETE", f"{packages}/p")
        assert refused.status == 409
        assert "Package not empty (contains 1 entity)" in refused.json["error"]
        assert (await api.call("DELETE", f"{packages}/p", query="force=true")).status == 200
        assert (await api.call("GET", ACTIONS)).json == []
        assert (await api.call("GET", packages, query="limit=0&skip=0")).json == []

    assert run(tmp_path, script).containers.stopped == ["guest/p/a"] * 2


def test_lists_and_their_pages(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        for number in range(32):
            await api.create(f"a{number}")
        listed = (await api.call("GET", ACTIONS)).json
        assert [one["name"] for one in listed] == [f"a{number}" for number in range(31, 1, -1)]
        assert set(listed[0]) == {
            *("namespace", "name", "version", "publish", "annotations", "limits", "exec", "updated"),
        }
        assert len((await api.call("GET", ACTIONS, query="limit=0&skip=0")).json) == 32
        assert [one["name"] for one in (await api.call("GET", ACTIONS, query="limit=1&skip=31")).json] == ["a0"]
        assert (await api.call("GET", ACTIONS, query="count=true&skip=2")).json == {"actions": 30}
        assert (await api.call("GET", f"{ACTIONS}/")).status == 200
        for query, reason in (
            ("limit=201", "The value '201' is not in the range of 0 to 200 for actions."),
            ("limit=-1", "The value '-1' is not in the range of 0 to 200 for actions."),
            ("skip=-1", "The value '-1' is not greater than or equal to 0 for actions."),
            ("limit=x", "The value 'x' is not an integer for actions."),
        ):
            name = query.partition("=")[0]
            expect(
                await api.call("GET", ACTIONS, query=query),
                400,
                f"The query parameter '{name}' was malformed:\n{reason}",
            )

    run(tmp_path, script)


def test_what_is_left_out_says_so(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        for collection in ("triggers", "rules"):
            assert (await api.call("GET", f"/namespaces/_/{collection}", query="limit=0&skip=0")).json == []
        binding = {"binding": {"namespace": "_", "name": "p"}}
        for method, path, body, what in (
            ("PUT", "/namespaces/_/triggers/t", {}, "Triggers are"),
            ("GET", "/namespaces/_/triggers/t", None, "Triggers are"),
            ("POST", "/namespaces/_/rules/r", {}, "Rules are"),
            ("GET", "/web/guest/default/a.json", None, "Web actions and API gateways are"),
            ("PUT", "/namespaces/_/packages/b", binding, "Package bindings are"),
        ):
            reply = await api.call(method, path, body)
            expect(reply, 501, f"{what} not part of KaaS's local OpenWhisk API; an OpenWhisk deployment has them.")
        for method in ("GET", "POST"):
            reply = await api.call(method, "/web/guest/default/a", key=None)
            assert reply.status == 501 and reply.json["error"].startswith("Web actions and API gateways are not part")

    run(tmp_path, script)


def test_a_wrong_path_or_method(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        expect(await api.send("GET", "/nowhere"), 404, "The requested resource does not exist.")
        reply = await api.call("PATCH", f"{ACTIONS}/a")
        assert reply.status == 405
        assert reply.json["error"].startswith("HTTP method not allowed, supported methods: ")

    run(tmp_path, script)
