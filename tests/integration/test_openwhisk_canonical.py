"""OpenWhisk's ten canonical checks of a runtime, for the CPU kinds of the local OpenWhisk, in real processes.

They are checks of a proxy's HTTP interface. What of it a caller of `Containers` cannot reach holds in this sense: a
process is initialised once, and never asked before that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from openwhisk_actions import Machine, executable, lines, needs_node

from kaas_local.openwhisk.containers.model import DEVELOPER_ERROR, SUCCESS
from kaas_local.openwhisk.kinds import NODEJS, PYTHON


@dataclass(frozen=True)
class Language:
    """The checks' actions in one language."""

    kind: str
    no_object: str
    not_an_object: str
    other_main: str
    echo_and_log: str
    unicode: str
    initial_environment: str
    environment: str


PYTHON_CHECKS = Language(
    PYTHON,
    "def main(args):\n    return 'not a json object'\n",
    "The action did not return a dictionary or array.",
    "def niam(args):\n    return args\n",
    "import sys\n"
    "def main(args):\n    print('hello stdout')\n    print('hello stderr', file=sys.stderr)\n    return args\n",
    "def main(args):\n    winter = f\"{args['delimiter']} ☃ {args['delimiter']}\"\n    print(winter)\n"
    "    return {'winter': winter}\n",
    "import os\ndef main(args):\n    return {name: os.environ[name] for name in ('SOME_VAR', 'ANOTHER_VAR')}\n",
    "import os\ndef main(args):\n"
    "    return {name.lower()[5:]: value for name, value in os.environ.items() if name.startswith('__OW_')}\n",
)
NODEJS_CHECKS = Language(
    NODEJS,
    "function main(args) { return 'not a json object' }",
    "The action did not return a dictionary.",
    "function niam(args) { return args }",
    "function main(args) { console.log('hello stdout'); console.error('hello stderr'); return args }",
    "function main(args) { const winter = `${args.delimiter} ☃ ${args.delimiter}`; console.log(winter);\n"
    "    return {winter} }",
    "function main() { const {SOME_VAR, ANOTHER_VAR} = process.env; return {SOME_VAR, ANOTHER_VAR} }",
    "function main() { return Object.fromEntries(Object.entries(process.env)\n"
    "    .filter(([name]) => name.startsWith('__OW_')).map(([name, value]) => [name.toLowerCase().slice(5), value])) }",
)


@pytest.fixture(
    scope="module",
    params=[pytest.param(PYTHON_CHECKS, id="python"), pytest.param(NODEJS_CHECKS, id="nodejs", marks=needs_node)],
)
def language(request: pytest.FixtureRequest) -> Language:
    found: Language = request.param
    return found


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("actions")) as running:
        yield running


def test_1_and_2_no_code(machine: Machine, language: Language) -> None:
    answer = machine.run(executable("", language.kind))
    assert (answer.status, answer.result) == (DEVELOPER_ERROR, {"error": "Missing main/no code to execute."})


def test_3_a_result_that_is_no_object(machine: Machine, language: Language) -> None:
    answer = machine.run(executable(language.no_object, language.kind))
    assert (answer.status, answer.result) == (DEVELOPER_ERROR, {"error": language.not_an_object})


def test_4_initialised_once(machine: Machine, language: Language) -> None:
    action = executable(language.echo_and_log, language.kind)
    assert [machine.run(action).init_ms is not None for _ in range(3)] == [True, False, False]


def test_5_an_entry_point_other_than_main(machine: Machine, language: Language) -> None:
    answer = machine.run(executable(language.other_main, language.kind, main="niam"), {"string": "hello"})
    assert (answer.status, answer.result, answer.logs) == (SUCCESS, {"string": "hello"}, ())


def test_6_echo_and_log(machine: Machine, language: Language) -> None:
    action = executable(language.echo_and_log, language.kind)
    for value in ({"string": "hello"}, {"string": "❄ ☃ ❄"}, {"numbers": [42, 1]}, {"object": {"nested": {"a": None}}}):
        answer = machine.run(action, value)
        assert (answer.status, answer.result) == (SUCCESS, value)
        assert (lines(answer, "stdout"), lines(answer, "stderr")) == (["hello stdout"], ["hello stderr"])


def test_7_unicode(machine: Machine, language: Language) -> None:
    answer = machine.run(executable(language.unicode, language.kind), {"delimiter": "❄"})
    assert (answer.result, lines(answer, "stdout")) == ({"winter": "❄ ☃ ❄"}, ["❄ ☃ ❄"])


def test_8_environment_at_init(machine: Machine, language: Language) -> None:
    env = {"SOME_VAR": "xyz", "ANOTHER_VAR": ""}
    assert machine.run(executable(language.initial_environment, language.kind, env=env)).result == env


def test_9_what_openwhisk_says_of_an_activation(machine: Machine, language: Language) -> None:
    action = executable(language.environment, language.kind, namespace="yyy", name="pkg/xxx", version="0.0.7")
    told = {"namespace": "zzz", "api_key": "abc:def", "api_host": "http://xyz:1"}
    for identifier in ("i" * 32, "j" * 32):
        answer = machine.run(action, activation_id=identifier, **told)
        found = answer.result
        assert answer.end_ms + action.timeout_ms >= int(found.pop("deadline")) >= answer.start_ms + action.timeout_ms
        assert found == {
            **told,
            "action_name": "/yyy/pkg/xxx",
            "action_version": "0.0.7",
            "activation_id": identifier,
            "transaction_id": "t" * 32,
        }


def test_9_no_key_unless_it_is_provided(machine: Machine, language: Language) -> None:
    assert "api_key" not in machine.run(executable(language.environment, language.kind)).result


def test_10_large_input(machine: Machine, language: Language) -> None:
    value = {"string": "x" * 1_048_561}
    answer = machine.run(executable(language.other_main, language.kind, main="niam"), value)
    assert (answer.status, answer.result) == (SUCCESS, value)
    assert answer.size == 1_048_574, "without spaces"


def test_arrays_in_and_out(machine: Machine, language: Language) -> None:
    """What a component of a sequence may return, and the next may get."""
    answer = machine.run(executable(language.other_main, language.kind, main="niam"), [1, {"a": "❄"}])
    assert (answer.status, answer.result) == (SUCCESS, [1, {"a": "❄"}])
