"""The asyncio client of compilers, with real children."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kaas.archive import write_archive
from kaas.bundle import Bundle
from kaas.errors import AuthorError
from kaas_emulator import sources
from kaas_pool.compiler import Target, start, toolchains
from kaas_pool.compiler.client import CompilerClient
from kaas_pool.frames import Link
from kaas_pool.spawn import kill_group, spawn

EMULATED = Target("emulated")

MANIFEST = """
kaas: 1
name: test
buffers:
  x: {io: inout, dtype: float32, shape: [n]}
graph:
  - {kernel: first, source: a.cu, threads: [n], block: [32], args: [x]}
  - {kernel: second, source: b.cu, threads: [n], block: [32], args: [x]}
"""


def upload(**bodies: str) -> bytes:
    """A bundle of two sources with one kernel each."""
    files = {
        "kaas.yaml": MANIFEST,
        "a.cu": f'extern "C" __global__ void first(float *x) {{ {bodies.get("first", "x[0] = 1;")} }}\n',
        "b.cu": f'extern "C" __global__ void second(float *x) {{ {bodies.get("second", "x[0] = 2;")} }}\n',
    }
    return write_archive({name: text.encode() for name, text in files.items()})


@dataclass
class Child:
    """A compiler of this test's own, in place of one that the supervisor started."""

    pid: int
    link: Link
    killed: list[str] = field(default_factory=list)

    def kill(self, reason: str) -> None:
        self.killed.append(reason)
        kill_group(self.pid)

    async def exited(self) -> int:
        _, status = await asyncio.to_thread(os.waitpid, self.pid, 0)
        return os.waitstatus_to_exitcode(status)


class Spawner:
    """Starts real compilers, each in its own folder; `kill_first` of them are killed before they can answer."""

    def __init__(self, folder: Path, kill_first: int = 0) -> None:
        self.children: list[Child] = []
        self._folder = folder
        self._kill_first = kill_first

    async def __call__(self) -> Child:
        work = self._folder / f"work-{len(self.children)}"
        work.mkdir()
        ours, theirs = Link.pair()
        pid = spawn(start.command("emulated", work, allow_unsandboxed=False), theirs.fileno())
        theirs.close()
        child = Child(pid, ours)
        self.children.append(child)
        if len(self.children) <= self._kill_first:
            os.kill(pid, signal.SIGKILL)
        return child

    def reap(self) -> None:
        """Wait for whoever has not been waited for."""
        for child in self.children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child.pid, 0)
        for work in self._folder.glob("work-*"):
            shutil.rmtree(work)


def compile_once(tmp_path: Path, data: bytes, spawner: Spawner) -> list[str]:
    async def run() -> list[str]:
        client = CompilerClient(spawner, EMULATED, tmp_path / "images")
        return [one.unit.name for one in await client.compile(Bundle.open(data), data)]

    try:
        return asyncio.run(run())
    finally:
        spawner.reap()


def test_sources_are_compiled_once_and_kept(tmp_path: Path) -> None:
    spawner = Spawner(tmp_path)
    assert compile_once(tmp_path, upload(), spawner) == ["a.cu", "b.cu"]
    assert len(spawner.children) == 2
    again = Spawner(tmp_path)
    assert compile_once(tmp_path, upload(), again) == ["a.cu", "b.cu"]
    assert again.children == []


@pytest.mark.parametrize("name", ["include/kaas_device.h", "compiler/signatures.py"])
def test_what_is_compiled_while_a_header_or_our_code_is_written_to_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    include, compiler = tmp_path / "include", tmp_path / "compiler"
    shutil.copytree(sources.include_directory(), include)
    shutil.copytree(toolchains.OWN_CODE, compiler)
    monkeypatch.setattr(sources, "include_directory", lambda: include)
    monkeypatch.setattr(toolchains, "OWN_CODE", compiler)

    file = tmp_path / name
    original = file.read_bytes()

    class Writing(Spawner):
        async def __call__(self) -> Child:
            file.write_bytes(original + b"\n")
            return await super().__call__()

    spawners = [Writing(tmp_path), Spawner(tmp_path), Spawner(tmp_path)]
    for spawner in spawners:
        file.write_bytes(original)
        assert compile_once(tmp_path, upload(), spawner) == ["a.cu", "b.cu"]
    assert [len(spawner.children) for spawner in spawners] == [2, 2, 0]


def test_equal_compiles_at_one_moment_are_one(tmp_path: Path) -> None:
    spawner = Spawner(tmp_path)

    async def run() -> None:
        client = CompilerClient(spawner, EMULATED, tmp_path / "images")
        data = upload()
        bundles = [Bundle.open(data) for _ in range(3)]
        results = await asyncio.gather(*(client.compile(bundle, data) for bundle in bundles))
        assert len({result[0].image for result in results}) == 1

    asyncio.run(run())
    spawner.reap()
    assert len(spawner.children) == 2


def test_the_first_sources_error_is_told(tmp_path: Path) -> None:
    with pytest.raises(AuthorError, match="nothing") as caught:
        compile_once(tmp_path, upload(first="nothing;", second="neither;"), Spawner(tmp_path))
    assert caught.value.code == "compile_error"
    assert str(caught.value.where).startswith("a.cu:1")


def test_a_killed_child_is_replaced_once(tmp_path: Path) -> None:
    spawner = Spawner(tmp_path, kill_first=1)
    assert compile_once(tmp_path, upload(), spawner) == ["a.cu", "b.cu"]
    assert len(spawner.children) == 3


def test_a_child_that_is_killed_again_is_told_as_a_limit(tmp_path: Path) -> None:
    with pytest.raises(AuthorError) as caught:
        compile_once(tmp_path, upload(), Spawner(tmp_path, kill_first=100))
    assert caught.value.code == "compile_limit"


def test_who_stops_waiting_does_not_stop_the_compile_for_others(tmp_path: Path) -> None:
    spawner = Spawner(tmp_path)

    async def run() -> None:
        client = CompilerClient(spawner, EMULATED, tmp_path / "images")
        data = upload()
        impatient = asyncio.create_task(client.compile(Bundle.open(data), data))
        while not spawner.children:
            await asyncio.sleep(0)
        patient = asyncio.create_task(client.compile(Bundle.open(data), data))
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        assert [one.unit.name for one in await patient] == ["a.cu", "b.cu"]

    asyncio.run(run())
    spawner.reap()
    assert len(spawner.children) == 2
    assert not [child for child in spawner.children if child.killed]
