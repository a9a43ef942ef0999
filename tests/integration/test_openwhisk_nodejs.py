"""JavaScript actions of the local OpenWhisk, in real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openwhisk_actions import Machine, executable, lines, needs_node, zipped

from kaas_local.openwhisk.containers.model import APPLICATION_ERROR, DEVELOPER_ERROR, SUCCESS, Answer
from kaas_local.openwhisk.kinds import NODEJS

pytestmark = needs_node

GONE_IN_INIT = {"error": "The action did not initialize and exited unexpectedly."}
GONE_IN_RUN = {"error": "The action did not produce a valid response and exited unexpectedly."}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("actions")) as running:
        yield running


def run(machine: Machine, body: str) -> Answer:
    return machine.run(executable(f"function main(args) {{ {body} }}", NODEJS))


@pytest.mark.parametrize(
    "code",
    [
        "function main(args) { return {sum: args.a + 1} }",
        "const main = ({a}) => ({sum: a + 1})",
        "async function main({a}) { await null; return {sum: a + 1} }",
        "function main({a}) { return new Promise((resolve) => setImmediate(() => resolve({sum: a + 1}))) }",
        "exports.main = ({a}) => ({sum: a + 1})",
        "module.exports = {main: ({a}) => ({sum: a + 1})}",
        "const path = require('path'); function main({a}) { return {sum: Number(path.join(String(a + 1)))} }",
        "// a comment ends the code: function main\nfunction main({a}) { return {sum: a + 1} } // so",
    ],
)
def test_ways_to_write_it(machine: Machine, code: str) -> None:
    answer = machine.run(executable(code, NODEJS), {"a": 1})
    assert (answer.status, answer.result) == (SUCCESS, {"sum": 2}), answer


def test_nothing_returned_is_an_empty_object(machine: Machine) -> None:
    answer = run(machine, "return")
    assert (answer.status, answer.result) == (SUCCESS, {})


def test_an_error_that_is_returned(machine: Machine) -> None:
    answer = run(machine, "return {error: 'no', other: 1}")
    assert (answer.status, answer.result) == (APPLICATION_ERROR, {"error": "no"})


@pytest.mark.parametrize(
    ("reason", "error"), [("'no ❄ today'", "no ❄ today"), ("{code: 7}", {"code": 7}), ("", {}), ("[1]", [1])]
)
def test_a_rejection_is_an_application_error(machine: Machine, reason: str, error: object) -> None:
    answer = run(machine, f"return Promise.reject({reason})")
    assert (answer.status, answer.result) == (APPLICATION_ERROR, {"error": error})


def test_a_rejection_with_an_error(machine: Machine) -> None:
    answer = run(machine, "return Promise.reject(Object.assign(new TypeError('no'), {code: 7}))")
    assert answer.status == APPLICATION_ERROR
    error = answer.result["error"]
    assert (error["name"], error["message"], error["code"]) == ("TypeError", "no", 7)
    assert "action.js:1" in error["stack"]


def test_what_is_thrown_at_once(machine: Machine) -> None:
    answer = run(machine, "throw new TypeError('no ❄ today')")
    assert (answer.status, answer.result) == (
        DEVELOPER_ERROR,
        {"error": "An error has occurred: TypeError: no ❄ today"},
    )
    assert lines(answer, "stderr")[0] == "TypeError: no ❄ today"


@pytest.mark.parametrize("result", ["7", "'text'", "true", "Promise.resolve(7)", "main"])
def test_a_result_that_is_no_object(machine: Machine, result: str) -> None:
    answer = run(machine, f"return {result}")
    assert (answer.status, answer.result) == (DEVELOPER_ERROR, {"error": "The action did not return a dictionary."})
    assert lines(answer, "stderr")[0].startswith("Result must be of type object")


def test_null(machine: Machine) -> None:
    answer = run(machine, "return null")
    assert answer.status == DEVELOPER_ERROR
    assert answer.result == {"error": "The action did not produce a valid JSON or JSON Array response: null"}


def test_a_result_that_json_cannot_hold(machine: Machine) -> None:
    answer = run(machine, "const a = {}; a.a = a; return a")
    assert answer.status == DEVELOPER_ERROR
    assert answer.result["error"].startswith("An error has occurred: TypeError: Converting circular structure")


def test_a_result_that_utf8_cannot_hold(machine: Machine) -> None:
    answer = run(machine, "return {x: '\\ud800'}")
    assert (answer.status, answer.result) == (SUCCESS, {"x": "?"})


@pytest.mark.parametrize(
    "way", ["process.exit(0)", "process.abort()", "setImmediate(() => { throw 1 }); return new Promise(() => {})"]
)
def test_an_end_in_the_middle_of_a_run(machine: Machine, way: str) -> None:
    answer = run(machine, f"console.log('before'); {way}")
    assert (answer.status, answer.result, answer.timed_out) == (DEVELOPER_ERROR, GONE_IN_RUN, False)
    assert lines(answer, "stdout") == ["before"]


def test_an_end_in_the_middle_of_the_start(machine: Machine) -> None:
    answer = machine.run(executable("process.exit(0); function main() {}", NODEJS))
    assert (answer.status, answer.result) == (DEVELOPER_ERROR, GONE_IN_INIT)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("function main( {", "SyntaxError: "),
        ("require('none-such'); function main() {}", "Error: Cannot find module 'none-such'"),
        ("const other = 1", "Action entrypoint 'main' is not a function."),
        ("const main = 1", "Action entrypoint 'main' is not a function."),
        ("throw new Error('no')", "Error: no"),
    ],
)
def test_code_that_cannot_be_an_action(machine: Machine, code: str, why: str) -> None:
    answer = machine.run(executable(code, NODEJS))
    assert answer.status == DEVELOPER_ERROR
    assert answer.result["error"].startswith("Initialization has failed due to: ")
    assert why in answer.result["error"]
    assert lines(answer, "stderr")[0].startswith("Error during initialization:")


FILE = "require('fs').readFileSync('data/file', 'utf8')"


@pytest.mark.parametrize(
    "files",
    [
        {"index.js": f"exports.main = () => ({{file: {FILE}}})"},
        {"package.json": '{"main": "lib/a.js"}', "lib/a.js": f"exports.main = () => ({{file: {FILE}}})"},
        {
            "package.json": "{}",
            "index.js": "exports.main = () => require('helper')",
            "node_modules/helper/index.js": f"exports.file = {FILE}",
        },
        {
            "package.json": '{"type": "module", "main": "a.js"}',
            "a.js": "import {file} from './b.js'; export function main() { return {file} }",
            "b.js": "import {readFileSync} from 'node:fs'; export const file = readFileSync('data/file', 'utf8')",
        },
        {
            "package.json": '{"main": "a.mjs"}',
            "a.mjs": "import fs from 'fs'; const file = fs.readFileSync('data/file', 'utf8')\n"
            "export default {main: async () => ({file})}",
        },
    ],
    ids=["index", "main", "modules", "esm", "mjs"],
)
def test_a_zip(machine: Machine, files: dict[str, str]) -> None:
    answer = machine.run(executable(zipped({**files, "data/file": "❄"}), NODEJS, binary=True))
    assert (answer.status, answer.result) == (SUCCESS, {"file": "❄"}), answer


def test_a_zip_with_another_entry_point(machine: Machine) -> None:
    code = zipped({"index.js": "exports.inner = {niam: (args) => args}"})
    assert machine.run(executable(code, NODEJS, binary=True, main="inner.niam"), {"a": 1}).result == {"a": 1}


def test_a_zip_without_an_entry(machine: Machine) -> None:
    answer = machine.run(executable(zipped({"other.js": ""}), NODEJS, binary=True))
    assert answer.status == DEVELOPER_ERROR
    assert "Zipped actions must contain either package.json or index.js at the root." in answer.result["error"]


def test_a_result_over_the_limit(machine: Machine) -> None:
    action = executable("function main({size}) { return {x: 'y'.repeat(size)} }", NODEJS)
    answer = machine.run(action, {"size": 5 << 20})
    assert answer.status == APPLICATION_ERROR
    assert f"exceeded the allowed length: {(5 << 20) + 8} > 1048576 bytes" in answer.result["error"]
    assert machine.run(action, {"size": 1}).result == {"x": "y"}


def test_nothing_of_the_environment_comes_through(machine: Machine) -> None:
    found = run(machine, "return {...process.env}").result
    assert {name for name in found if not name.startswith("__OW_")} <= {"PATH", "LANG", "TZ", "HOME", "TMPDIR"}
