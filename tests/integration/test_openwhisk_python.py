"""Python actions of the local OpenWhisk, in real processes."""

from __future__ import annotations

import base64
import importlib.util
import io
import zipfile
from collections.abc import Iterator

import pytest
from openwhisk_actions import Machine, executable, lines, zipped

from kaas_local.openwhisk.containers.model import APPLICATION_ERROR, DEVELOPER_ERROR, SUCCESS

NO_BINARY = {"error": "The action failed to generate or locate a binary. See logs for details."}
NOT_STARTED = {"error": "Cannot start action. Check logs for details."}
EXITED = {"error": "command exited"}
NO_DICTIONARY = {"error": "The action did not return a dictionary or array."}
DATA_MISSING = "The action did not initialize or run as expected. Log data might be missing."


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("actions")) as running:
        yield running


def test_an_exception_is_an_application_error(machine: Machine) -> None:
    action = executable("def main(args):\n    raise ValueError('no ❄ today')\n")
    first, second = machine.run(action), machine.run(action)
    assert (first.status, first.result) == (APPLICATION_ERROR, {"error": "no ❄ today"})
    assert lines(first, "stderr")[0] == "Traceback (most recent call last):"
    assert any("main__.py" in line and "line 2" in line for line in lines(first, "stderr"))
    assert lines(first, "stderr")[-1] == "ValueError: no ❄ today"
    assert second.init_ms is None, "the process stays"


def test_a_child_that_answers_too_spoils_no_other_answer(machine: Machine) -> None:
    action = executable(
        "import os\ndef main(args):\n    if args['forks']:\n        os.fork()\n    return {'number': args['number']}\n"
    )
    assert machine.run(action, {"number": 0, "forks": True}).result == {"number": 0}
    for number in (1, 2, 3):
        answer = machine.run(action, {"number": number, "forks": False})
        assert answer.result in ({"number": number}, EXITED), "its process ends when the child's answer comes"


def test_an_error_that_is_returned(machine: Machine) -> None:
    action = executable("def main(args):\n    return {'error': {'code': 7}, 'other': 1}\n")
    answer = machine.run(action)
    assert (answer.status, answer.result, answer.size) == (APPLICATION_ERROR, {"error": {"code": 7}}, 20)
    assert answer.logs == ()


@pytest.mark.parametrize("result", ["None", "7", "'text'", "True", "float('nan')", "{'x': float('inf')}"])
def test_a_result_that_is_no_json_object_or_array(machine: Machine, result: str) -> None:
    answer = machine.run(executable(f"def main(args):\n    return {result}\n"))
    assert (answer.status, answer.result) == (DEVELOPER_ERROR, NO_DICTIONARY)
    assert lines(answer, "stderr")[-1] == DATA_MISSING


def test_a_result_that_json_cannot_hold(machine: Machine) -> None:
    answer = machine.run(executable("def main(args):\n    return {'x': object()}\n"))
    assert (answer.status, answer.result) == (DEVELOPER_ERROR, EXITED)
    assert any("not JSON serializable" in line for line in lines(answer, "stderr"))


@pytest.mark.parametrize(
    "end", ["return {'x': '\\ud800'}", "return ['\\udfff']", "return {'\\ud800': 1}", "raise ValueError('\\ud800')"]
)
def test_a_result_that_utf8_cannot_hold(machine: Machine, end: str) -> None:
    """As of OpenWhisk's own launcher, whose process ends of it."""
    answer = machine.run(executable(f"def main(args):\n    {end}\n"))
    assert (answer.status, answer.result) == (DEVELOPER_ERROR, EXITED)
    assert "surrogates not allowed" in lines(answer, "stderr")[-2]


@pytest.mark.parametrize("way", ["import sys; sys.exit(3)", "import os; os._exit(0)", "import os; os.abort()"])
def test_an_end_in_the_middle_of_a_run(machine: Machine, way: str) -> None:
    action = executable(f"def main(args):\n    print('before', flush=True)\n    {way}\n")
    answer = machine.run(action)
    assert (answer.status, answer.result, answer.timed_out) == (DEVELOPER_ERROR, EXITED, False)
    assert lines(answer, "stdout") == ["before"]
    assert machine.run(action).init_ms is not None, "the next has a new process"


@pytest.mark.parametrize("way", ["import sys; sys.exit(3)", "import os; os._exit(0)", "import none_such"])
def test_an_end_in_the_middle_of_the_start(machine: Machine, way: str) -> None:
    answer = machine.run(executable(f"{way}\ndef main(args):\n    return args\n"))
    assert (answer.status, answer.result) == (DEVELOPER_ERROR, NOT_STARTED)
    assert lines(answer, "stderr")[-2:] == ["Command exited abruptly during initialization.", DATA_MISSING]
    assert answer.init_ms is not None


def test_an_import_that_fails_is_explained(machine: Machine) -> None:
    answer = machine.run(executable("import none_such\n"))
    assert "ModuleNotFoundError: No module named 'none_such'" in lines(answer, "stderr")


def test_no_such_function(machine: Machine) -> None:
    answer = machine.run(executable("def main(args):\n    return args\n", main="other"))
    assert (answer.status, answer.result) == (DEVELOPER_ERROR, NOT_STARTED)
    assert any("no attribute 'other'" in line for line in lines(answer, "stderr"))


@pytest.mark.parametrize("code", ["def main(args:\n", "x = '\0'\n"])
def test_a_syntax_error(machine: Machine, code: str) -> None:
    answer = machine.run(executable(code))
    assert (answer.status, answer.result) == (DEVELOPER_ERROR, NO_BINARY)
    assert any("SyntaxError" in line or "null bytes" in line for line in lines(answer, "stderr"))


def test_a_zip(machine: Machine) -> None:
    files = {
        "__main__.py": "import helper\ndef niam(args):\n    return {**helper.ed(), 'file': open('data/file').read()}\n",
        "helper.py": "def ed():\n    return {'helped': True}\n",
        "data/file": "❄",
    }
    answer = machine.run(executable(zipped(files), binary=True, main="niam"))
    assert (answer.status, answer.result) == (SUCCESS, {"helped": True, "file": "❄"})


def test_a_zip_with_a_virtualenv(machine: Machine) -> None:
    files = {
        "__main__.py": "import bundled\ndef main(args):\n    return {'x': bundled.X}\n",
        "virtualenv/bin/activate_this.py": "import sys, os\n"
        "sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(__file__)), 'lib'))\n",
        "virtualenv/lib/bundled.py": "X = 7\n",
    }
    assert machine.run(executable(zipped(files), binary=True)).result == {"x": 7}


def test_what_may_be_executed_in_a_zip_still_may(machine: Machine) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        tool = zipfile.ZipInfo("bin/tool")
        tool.external_attr = 0o755 << 16
        archive.writestr(tool, "#!/bin/sh\necho ❄")
        archive.writestr(
            "__main__.py",
            "import subprocess\ndef main(args):\n    return {'x': tool()}\n"
            "def tool():\n    return subprocess.check_output(['bin/tool'], text=True)\n",
        )
    code = base64.b64encode(buffer.getvalue()).decode()
    assert machine.run(executable(code, binary=True)).result == {"x": "❄\n"}


def test_a_zip_without_main(machine: Machine) -> None:
    answer = machine.run(executable(zipped({"other.py": ""}), binary=True))
    assert (answer.status, answer.result) == (DEVELOPER_ERROR, NO_BINARY)
    assert lines(answer, "stderr")[0] == "Zip file does not include __main__.py"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("no base64", "Only base64 data is allowed"),
        ("bm8gemlw", "File is not a zip file"),
        (zipped({"../outside": "x", "__main__.py": ""}), "'../outside' is outside of it"),
        (zipped({"/outside": "x", "__main__.py": ""}), "'/outside' is outside of it"),
        (zipped({"a": "x", "a/b": "y"}), "exists"),
    ],
)
def test_a_zip_that_cannot_be_used(machine: Machine, code: str, why: str) -> None:
    answer = machine.run(executable(code, binary=True))
    assert answer.status == DEVELOPER_ERROR
    assert answer.result["error"].startswith("cannot decode the request: ")
    assert why in answer.result["error"]


@pytest.mark.parametrize("module", ["boto3", "numpy", "PIL"])
def test_what_there_is_to_import(machine: Machine, module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is in the lock but not installed here: make setup")
    answer = machine.run(executable(f"import {module}\ndef main(args):\n    return {{'name': {module}.__name__}}\n"))
    assert (answer.status, answer.result) == (SUCCESS, {"name": module})


def test_nothing_of_the_environment_comes_through(machine: Machine) -> None:
    found = machine.run(executable("import os\ndef main(args):\n    return dict(os.environ)\n")).result
    assert {name for name in found if not name.startswith("__OW_")} <= {"PATH", "LANG", "TZ", "HOME", "TMPDIR"}


def test_state_stays_between_calls(machine: Machine) -> None:
    action = executable("count = 0\ndef main(args):\n    global count\n    count += 1\n    return {'count': count}\n")
    assert [machine.run(action).result["count"] for _ in range(3)] == [1, 2, 3]


def test_a_result_over_the_limit(machine: Machine) -> None:
    action = executable("def main(args):\n    return {'x': 'y' * args['size']}\n")
    most = machine.run(action, {"size": (1 << 20) - 8})
    assert (most.status, most.size) == (SUCCESS, 1 << 20)
    for size in ((1 << 20) - 7, 50 << 20):
        answer = machine.run(action, {"size": size})
        assert answer.status == APPLICATION_ERROR
        assert answer.result["error"].startswith(
            f"The action produced a response that exceeded the allowed length: {size + 8} > 1048576 bytes. "
            "The truncated response was: {"
        )
        assert answer.size < 2000
    assert machine.run(action, {"size": 1}).init_ms is None, "the process stays"


def test_an_action_that_closes_its_descriptors(machine: Machine) -> None:
    action = executable("import os\ndef main(args):\n    os.closerange(3, 65536)\n    return {}\n")
    answer = machine.run(action)
    assert (answer.status, answer.result) == (DEVELOPER_ERROR, EXITED)
