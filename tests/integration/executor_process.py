"""A real executor process on the emulated driver, and a front's side of the conversation with it."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import select
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import kaas_emulator
from kaas.binding import Binding
from kaas.bundle import Bundle
from kaas_pool.compiler.messages import CompiledSource
from kaas_pool.executor.solo import bind_arrays
from kaas_pool.frames import Frame, Link
from kaas_pool.spawn import Command, environment, spawn

Array = npt.NDArray[Any]

PATIENCE_SECONDS = 60.0
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


@contextlib.contextmanager
def input_segment(data: bytes, before: int = 0) -> Iterator[int]:
    """A sealed segment as the mover makes it; the data begin at `before`."""
    descriptor = os.memfd_create("input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as out:
            out.write(bytes(before) + data)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        yield descriptor
    finally:
        os.close(descriptor)


class ExecutorProcess:
    """`python -m kaas_pool.executor`; use as a context manager."""

    def __init__(self, scratch: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        kaas_emulator.build()
        scratch.mkdir(exist_ok=True)
        self.control, other = Link.pair()
        words = ("--kind", "emulated", "--device", "0", "--domain", "test", "--scratch", str(scratch), *arguments)
        command = Command("kaas_pool.executor", words, environment({"TMPDIR": str(scratch), **(environ or {})}))
        self.pid = spawn(command, other.fileno())
        other.close()
        self.status: int | None = None

    def attach(self, epoch: str = "1") -> Front:
        """A new link to the process, past its hello."""
        ours, theirs = Link.pair()
        self.control.send({"type": "attach", "epoch": epoch}, [theirs.fileno()])
        theirs.close()
        front = Front(ours)
        try:
            front.hello = front.expect("hello")
            assert front.hello["epoch"] == epoch
        except BaseException:
            front.close()
            raise
        return front

    def wait(self) -> int:
        """Wait for the end: the exit status, negative for a signal."""
        if self.status is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                assert select.select([descriptor], [], [], PATIENCE_SECONDS)[0], "the executor does not end"
            finally:
                os.close(descriptor)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def descriptors(self) -> int:
        """How many descriptors it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def resident_bytes(self) -> int:
        """Its resident memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def processor_seconds(self) -> float:
        """Processor time it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> ExecutorProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        self.control.close()


class Action:
    """A bundle and its compiled sources."""

    def __init__(self, bundle: Bundle, compiled: Sequence[CompiledSource]) -> None:
        self.bundle = bundle
        self.compiled = list(compiled)

    def bind(self, **arguments: Any) -> Binding:
        """Bind NumPy arrays and parameters."""
        return bind_arrays(self.bundle, arguments)


class Front:
    """The front's end of a link. Frames are looked at in any order: those not asked for yet are kept."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.hello: Frame = {}
        self.frames: list[Frame] = []
        self.usage: list[Frame] = []
        self.copied: list[Frame] = []
        self.names = 0
        self.known: set[str] = set()

    def close(self) -> None:
        self.link.close()

    def __enter__(self) -> Front:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, kind: str, *descriptors: int, **fields: Any) -> None:
        self.link.send({"type": kind, **fields}, descriptors)

    def read(self) -> None:
        """Wait for one more frame."""
        assert select.select([self.link], [], [], PATIENCE_SECONDS)[0], f"no frame; so far: {self.frames}"
        frame, descriptors = self.link.receive()
        assert not descriptors
        aside = {"usage": self.usage, "copied": self.copied}
        aside.get(frame["type"], self.frames).append(frame)

    def expect(self, kind: str, inv: str | None = None) -> Frame:
        """The first frame of this kind (and of this invocation) that nobody took yet."""
        position = 0
        while True:
            for frame in self.frames[position:]:
                if frame["type"] == kind and inv in (None, frame.get("inv")):
                    self.frames.remove(frame)
                    return frame
            position = len(self.frames)
            self.read()

    def pending(self) -> list[Frame]:
        """Every frame that has come and nobody took, after the executor has worked off all that was sent so far."""
        self.set_budget(self.hello["memory_bytes"])
        frames, self.frames = self.frames, []
        return frames

    def set_budget(self, size: int) -> Frame:
        """Set the budget and wait for the answer."""
        told = len(self.usage)
        self.send("budget", bytes=size)
        while len(self.usage) == told:
            self.read()
        return self.usage[-1]

    @property
    def added(self) -> list[list[Any]]:
        """What came into the cache so far."""
        return [item for frame in self.usage for item in frame["added"]]

    @property
    def evicted(self) -> list[str]:
        """What left the cache so far."""
        return [key for frame in self.usage for key in frame["evicted"]]

    def send_bundle(self, action: Action) -> None:
        descriptors = [one.open_image() for one in action.compiled]
        images = [
            {"source": one.unit.source.path, "image": index, "signatures": dict(one.signatures)}
            for index, one in enumerate(action.compiled)
        ]
        self.known.add(action.bundle.digest)
        self.send(
            "bundle",
            *descriptors,
            digest=action.bundle.digest,
            manifest=base64.b64encode(action.bundle.files["kaas.yaml"]).decode(),
            images=images,
        )
        for descriptor in descriptors:
            os.close(descriptor)

    def start(
        self,
        action: Action,
        binding: Binding,
        keys: Mapping[str, str],
        segments: Mapping[str, int] | None = None,
        **fields: Any,
    ) -> str:
        """Send a `run`, and its bundle if need be; outputs without a segment come back inline. Returns its name."""
        if action.bundle.digest not in self.known:
            self.send_bundle(action)
        self.names += 1
        inv = f"i{self.names}"
        outputs: list[dict[str, Any]] = []
        descriptors: list[int] = []
        for buffer in binding.buffers.values():
            if buffer.target is None:
                continue
            place: dict[str, Any] = {"buffer": buffer.name, "size": buffer.nbytes}
            if segments is not None and buffer.name in segments:
                place |= {"segment": buffer.name, "fd": len(descriptors)}
                descriptors.append(segments[buffer.name])
            outputs.append(place)
        inputs = [
            {"buffer": buffer.name, "key": keys[buffer.name], "size": buffer.nbytes}
            for buffer in binding.buffers.values()
            if buffer.source is not None
        ]
        self.send(
            "run",
            *descriptors,
            inv=inv,
            digest=action.bundle.digest,
            binding=binding.to_json(),
            inputs=inputs,
            outputs=outputs,
            **fields,
        )
        return inv

    def supply(self, inv: str, key: str, data: Array | bytes, before: int = 0) -> None:
        """Give one input by a segment."""
        content = data if isinstance(data, bytes) else data.tobytes()
        with input_segment(content, before) as segment:
            self.send("supply", segment, inv=inv, key=key, offset=before, size=len(content))

    def inline(self, done: Frame, buffer: str, dtype: str = "float32") -> Array:
        """An inline output."""
        return np.frombuffer(base64.b64decode(done["inline"][buffer]), dtype)

    def run(self, action: Action, arrays: Mapping[str, Array], **parameters: Any) -> tuple[Frame, str]:
        """Run with every array under its buffer's name as content key, supplying what is asked for."""
        binding = action.bind(**arrays, **parameters)
        inv = self.start(action, binding, {name: name for name in arrays})
        return self.finish(inv, arrays), inv

    def finish(self, inv: str, arrays: Mapping[str, Array]) -> Frame:
        """Supply what is asked for until it is done."""
        while True:
            for frame in list(self.frames):
                if frame.get("inv") != inv:
                    continue
                self.frames.remove(frame)
                if frame["type"] == "done":
                    return frame
                assert frame["type"] == "need", frame
                for key in frame["keys"]:
                    self.supply(inv, key, arrays[key])
            self.read()


def until(condition: Any, what: str) -> None:
    """Wait for something that no descriptor tells; for what /proc shows of a process."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        os.sched_yield()
