"""Sequences of CPU and kernel actions: the examples `cells` and `heat`, and what stops in the middle of one."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from local_stack import running_stack
from openwhisk_process import OpenWhiskProcess
from PIL import Image
from pool_calls import get, put
from pool_process import PoolProcess
from seaweed import S3Client, S3Server
from tcp_proxy import TcpProxy
from test_local_stack import s3_client
from test_proxy_kernels import ECHO, environment

from kaas.errors import ERRORS
from kaas_cli import composition
from kaas_cli.examples import example_folder, load_script, pack_example
from kaas_cli.openwhisk import Code, OpenWhisk
from kaas_cli.output import Failure

#: What loads an input, as against what looks at it.
LOAD = rb"^GET .*\r\nIf-Match:"


class Stack:
    """A stack with the example, and a photo in its store."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.s3 = s3_client(variables)
        self.openwhisk = OpenWhisk(variables, self.lines.append)
        self.photo = composition.draw()
        bucket, _, key = composition.PHOTO.removeprefix("s3://").partition("/")
        self.s3.put_object(Bucket=bucket, Key=key, Body=self.photo.content)
        composition.create(self.openwhisk, variables)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("cells") / "state") as (_, _, variables):
        running = Stack(variables)
        yield running
        assert not any(
            variables[name] in line for name in ("AWS_SECRET_ACCESS_KEY", "WHISK_AUTH") for line in running.lines
        )
        running.openwhisk.close()
        running.s3.close()


def test_the_cells_are_counted(stack: Stack) -> None:
    report = composition.run(stack.openwhisk, stack.photo, lambda reference: get(stack.s3, reference))
    assert report.is_equal
    assert (report.result["cells"], report.misses_between_kernels) == (stack.photo.cells, 0)
    _, blur, regions, _ = report.steps
    assert [blur.first.stats["misses"], blur.again.stats["misses"]] == [1, 0]
    assert "version" in blur.first.result["kaas"]["outputs"]["blurred"], "it was answered before it was stored"
    assert "etag" in regions.first.result["kaas"]["outputs"]["labels"]
    assert any('"device_hits":1' in line for line in regions.first.logs)
    bucket, _, key = report.result["picture"].removeprefix("s3://").partition("/")
    picture = Image.open(io.BytesIO(stack.s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
    painted = np.asarray(picture)
    np.testing.assert_array_equal(painted.any(axis=2), stack.photo.labels > 0)
    assert len(np.unique(painted.reshape(-1, 3), axis=0)) == stack.photo.cells + 1


def test_the_heat_of_a_plate(stack: Stack) -> None:
    for name in ("lay_out", "report"):
        file = example_folder("heat") / f"{name}.py"
        code = Code("python:3", file.read_bytes(), file)
        stack.openwhisk.put_action(f"cells/{name}", code, {"folder": "s3://data/heat", "side": 9}, {})
    bound = {"tolerance": 1e-9, "outputs": "s3://out/heat", "residual": "inline"}
    composition.create_kernel(stack.openwhisk, "cg", pack_example(example_folder("cg")), bound)
    stack.openwhisk.put_sequence("solve-heat", ["cells/lay_out", "cg", "cells/report"])
    result = stack.openwhisk.invoke("solve-heat", {}).result
    arrays = load_script(example_folder("heat") / "lay_out.py").equations(9)
    plate = load_script(example_folder("cg") / "reference.py").expected(**arrays)["x"].reshape(9, 9)
    assert result["hottest"] == pytest.approx(plate.max(), rel=1e-7)
    assert result["at"] == [*np.unravel_index(plate.argmax(), plate.shape)]
    assert result["residual"] < 1e-18
    assert result["rounds"] > 1


def test_a_photo_that_is_not_there(stack: Stack) -> None:
    with pytest.raises(Failure, match=r"count-cells: .*NoSuchKey"):
        stack.openwhisk.invoke(composition.SEQUENCE, {"photo": "s3://data/nowhere.png"})


def test_a_photo_that_is_no_reference(stack: Stack) -> None:
    for given, said in (({"photo": "cells.png"}, "photo is the s3:// ref"), ({"foto": "x"}, r"missing: \['photo")):
        with pytest.raises(Failure, match=rf"count-cells: .*{said}"):
            stack.openwhisk.invoke(composition.SEQUENCE, given)


@pytest.fixture
def api(gated_pool: PoolProcess, tmp_path: Path) -> Iterator[OpenWhiskProcess]:
    """With `all`, of two Python actions and two kernels between them; the store can be stopped."""
    with OpenWhiskProcess(tmp_path, environment(gated_pool)) as running:
        create_sequence(running)
        yield running


def create_sequence(api: OpenWhiskProcess) -> None:
    api.create("begin", "def main(args): return {'x': args['image'], 'z': args['to'], 'a': 2}")
    api.create("double", ECHO, "kaas:1")
    api.create("pass", "def main(args): return {**args, 'a': 3, 'z': 'inline', 'x': args['z']}")
    api.create("triple", ECHO, "kaas:1")
    api.create("end", "def main(args): return {'z': args['z'], 'stats': args['kaas']['stats']}")
    api.sequence("all", "begin", "double", "pass", "triple", "end")


def start(api: OpenWhiskProcess, s3: S3Client, name: str) -> str:
    """Invoke `all` on an object that no cache knows, and do not wait; returns the activation's id."""
    image = put(s3, f"{name}/x.npy", np.random.default_rng(abs(hash(name))).random(4, np.float32))
    reply = api.invoke("all", {"image": image, "to": f"s3://alice/{name}/z.npy"}, "")
    assert reply.status == 202
    return reply.activation_id


def ended_badly(api: OpenWhiskProcess, activation_id: str, code: str) -> None:
    """The sequence ended in its second component, with this error, and so says its own record."""
    record = api.wait_for(activation_id)
    components = [api.wait_for(one) for one in record["logs"]]
    assert [one["name"] for one in components] == ["begin", "double"]
    assert [one["response"]["status"] for one in components] == ["success", "action developer error"]
    assert record["response"] == components[-1]["response"] | {"size": record["response"]["size"]}
    error = record["response"]["result"]["error"]
    assert error["code"] == code
    assert ERRORS[error["code"]].blame == "platform"
    assert error["message"]


def test_a_cpu_action_between_two_kernels(api: OpenWhiskProcess, s3: S3Client, name: str) -> None:
    record = api.wait_for(start(api, s3, name))
    result = record["response"]["result"]
    np.testing.assert_allclose(result["z"], 6 * get(s3, f"s3://alice/{name}/x.npy"))
    assert (result["stats"]["device_hits"], result["stats"]["misses"]) == (1, 0)


def test_the_store_stops_during_a_sequence(api: OpenWhiskProcess, store: TcpProxy, s3: S3Client, name: str) -> None:
    store.hold(LOAD)
    activation_id = start(api, s3, name)
    store.wait_until_held()
    store.stop()
    store.release()
    try:
        ended_badly(api, activation_id, "store_unreachable")
    finally:
        store.start()
    assert api.wait_for(start(api, s3, f"{name}/again"))["response"]["success"], "the processes go on"


def test_the_pool_stops_during_a_sequence(s3_server: S3Server, s3: S3Client, tmp_path: Path, name: str) -> None:
    with TcpProxy(s3_server.endpoint) as store:
        rights = {"alice": s3_server.rights("alice", store.endpoint)}
        with PoolProcess(tmp_path / "pool", rights) as pool, OpenWhiskProcess(tmp_path, environment(pool)) as api:
            create_sequence(api)
            store.hold(LOAD)
            activation_id = start(api, s3, name)
            store.wait_until_held()
            assert pool.process is not None
            pool.process.kill()
            ended_badly(api, activation_id, "pool_unreachable")
