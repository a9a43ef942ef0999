"""Scripted peers of a front: a supervisor, a mover and executors that speak the real frames and misbehave on demand.

Each runs in a thread of the test's process. `script` attributes take a frame before the peer acts on it; one that
returns True has dealt with it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import mmap
import os
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from kaas_pool.compiler.signatures import read_signatures
from kaas_pool.frames import Frame, Link, LinkClosed

Script = Callable[[Any, Frame], bool]


def _never(_: Any, __: Frame) -> bool:
    return False


def error_frame(code: str, message: str = "scripted") -> Frame:
    """The inner object of an error."""
    return {"code": code, "message": message}


class _Peer(ABC):
    """Reads frames in a thread until the connection ends."""

    def __init__(self, link: Link, name: str) -> None:
        self.link = link
        self.closed = threading.Event()
        self.sending = threading.Lock()
        self.thread = threading.Thread(target=self._read, name=name, daemon=True)

    def send(self, frame: Frame, descriptors: tuple[int, ...] = ()) -> None:
        with self.sending, contextlib.suppress(LinkClosed, OSError):
            self.link.send(frame, descriptors)

    def close(self) -> None:
        """End the connection, as a killed process does."""
        with contextlib.suppress(OSError):
            self.link.sock.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        with contextlib.suppress(LinkClosed, OSError):
            while True:
                frame, descriptors = self.link.receive()
                try:
                    self.on_frame(frame, descriptors)
                finally:
                    for descriptor in descriptors:
                        os.close(descriptor)
        self.link.close()
        self.closed.set()
        self.on_end()

    @abstractmethod
    def on_frame(self, frame: Frame, descriptors: list[int]) -> None:
        """A frame has come; its descriptors are closed afterwards."""

    @abstractmethod
    def on_end(self) -> None:
        """The connection has ended."""


@dataclass
class _Run:
    frame: Frame
    missing: set[str]
    segments: list[int] = field(default_factory=list)


class ScriptedExecutor(_Peer):
    """Takes what it is given into its cache and fills every output with sevens."""

    def __init__(self, world: ScriptedSupervisor, link: Link, child: str, device: str, domain: str) -> None:
        super().__init__(link, child)
        self.world = world
        self.child, self.device, self.domain = child, device, domain
        self.resident: dict[str, int] = {}
        self.bundles: list[str] = []
        self.runs: dict[str, _Run] = {}
        #: All frames, as they came.
        self.heard: list[Frame] = []
        #: Tests act on runs from their own thread.
        self.acting = threading.RLock()

    def greet(self, epoch: int = 1) -> None:
        self.send(
            {
                "type": "hello",
                "epoch": epoch,
                "device": self.device,
                "domain": self.domain,
                "pid": os.getpid(),
                "name": "scripted",
                "memory_bytes": self.world.memory_bytes,
                "compute_capability": [9, 0],
                "resident": [list(item) for item in self.resident.items()],
            }
        )

    def on_frame(self, frame: Frame, descriptors: list[int]) -> None:
        self.heard.append(frame)
        with self.acting:
            if not self.world.executor_script(self, frame):
                self.act(frame, descriptors)

    def act(self, frame: Frame, descriptors: list[int]) -> None:
        """Do what an executor does."""
        kind = frame["type"]
        if kind == "bundle":
            self.bundles.append(frame["digest"])
        elif kind == "budget":
            self.send({"type": "usage", "bytes": sum(self.resident.values()), "pinned": 0, "evicted": [], "added": []})
        elif kind == "run":
            self.begin(frame, descriptors)
        elif kind == "supply":
            self.resident[frame["key"]] = frame["size"]
            for inv, run in list(self.runs.items()):
                run.missing.discard(frame["key"])
                if not run.missing:
                    self.finish(inv)
        elif kind == "drop" and frame["inv"] in self.runs:
            self.fail(frame["inv"], "cancelled")

    def begin(self, frame: Frame, descriptors: list[int]) -> None:
        """Start a run: ask for what is missing, or finish at once."""
        with self.acting:
            missing = {item["key"] for item in frame["inputs"]} - self.resident.keys()
            segments = [os.dup(descriptor) for descriptor in descriptors]
            self.runs[frame["inv"]] = _Run(frame, missing, segments)
            if missing:
                self.send({"type": "need", "inv": frame["inv"], "keys": sorted(missing)})
            else:
                self.finish(frame["inv"])

    def finish(self, inv: str) -> None:
        """Write the outputs and say so."""
        run = self.runs.pop(inv)
        inline = {}
        for output in run.frame["outputs"]:
            data = b"\x07" * output["size"]
            if "segment" in output:
                _fill(run.segments[output["fd"]], data)
            else:
                inline[output["buffer"]] = base64.b64encode(data).decode()
        self._close(run)
        stats = {"compute_ms": 0.5, "gpu_ms": 0.25}
        self.send({"type": "done", "inv": inv, "stats": stats, "inline": inline})

    def fail(self, inv: str, code: str, *, fatal: bool = False) -> None:
        """Give a run up."""
        run = self.runs.pop(inv, None)
        if run is not None:
            self._close(run)
        self.send({"type": "failed", "inv": inv, "error": error_frame(code), "fatal": fatal})

    def die(self) -> None:
        """End as a crashed process does."""
        self.close()

    def on_end(self) -> None:
        for run in self.runs.values():
            self._close(run)
        self.runs.clear()
        self.world.exited(self.child, -11)

    def _close(self, run: _Run) -> None:
        for descriptor in run.segments:
            os.close(descriptor)


class ScriptedCompiler(_Peer):
    """Compiles any text into ten bytes."""

    def __init__(self, world: ScriptedSupervisor, link: Link, child: str) -> None:
        super().__init__(link, child)
        self.world = world
        self.child = child

    def on_frame(self, frame: Frame, descriptors: list[int]) -> None:
        if self.world.compiler_script(self, frame):
            return
        memory = os.memfd_create("image")
        os.write(memory, b"ten bytes.")
        found = {one.name: one.to_json() for one in read_signatures(frame["text"])}
        self.send({"type": "compiled", "signatures": found, "log": "", "seconds": 0.1}, (memory,))
        os.close(memory)

    def on_end(self) -> None:
        self.world.exited(self.child, 0)


class ScriptedSupervisor(_Peer):
    """Spawns scripted executors and compilers; `spawn_script` sees each `spawn` first."""

    def __init__(self, link: Link) -> None:
        super().__init__(link, "supervisor")
        self.memory_bytes = 1 << 30
        self.spawn_script: Script = _never
        self.executor_script: Script = _never
        self.compiler_script: Script = _never
        self.executors: list[ScriptedExecutor] = []
        self.compiled: list[str] = []
        self.killed: list[tuple[str, str]] = []
        self._children: dict[str, ScriptedExecutor | ScriptedCompiler] = {}
        self._count = count(1)

    def on_frame(self, frame: Frame, descriptors: list[int]) -> None:
        if frame["type"] == "kill":
            self.killed.append((frame["child"], frame["reason"]))
            if (child := self._children.get(frame["child"])) is not None:
                child.close()
        elif not self.spawn_script(self, frame):
            self.spawn(frame)

    def on_end(self) -> None:
        """The front is gone; its children stay for the next one."""

    def spawn(self, frame: Frame) -> None:
        """Start the child that a `spawn` asks for."""
        name = f"{frame['role']}-{next(self._count)}"
        theirs, ours = Link.pair()
        child: ScriptedExecutor | ScriptedCompiler
        if frame["role"] == "executor":
            child = ScriptedExecutor(self, ours, name, frame["device"], frame["domain"])
            self.executors.append(child)
        else:
            child = ScriptedCompiler(self, ours, name)
            self.compiled.append(name)
        self._children[name] = child
        self.send({"type": "spawned", "id": frame["id"], "child": name, "pid": os.getpid()}, (theirs.fileno(),))
        theirs.close()
        child.thread.start()
        if isinstance(child, ScriptedExecutor):
            child.greet()

    def adopt(self, executor: ScriptedExecutor) -> ScriptedExecutor:
        """Give a front an executor that outlived the one before; returns it on its new link."""
        theirs, ours = Link.pair()
        again = ScriptedExecutor(self, ours, executor.child, executor.device, executor.domain)
        again.resident = executor.resident
        self.executors.append(again)
        self._children[again.child] = again
        where = {"role": "executor", "device": again.device, "domain": again.domain}
        self.send({"type": "adopted", "child": again.child, "pid": os.getpid(), **where}, (theirs.fileno(),))
        theirs.close()
        again.thread.start()
        again.greet(2)
        return again

    def exited(self, child: str, status: int) -> None:
        """A child has been reaped."""
        if self._children.pop(child, None) is not None:
            self.send({"type": "exited", "child": child, "status": status})

    def tenants(self) -> list[ScriptedExecutor]:
        """Executors that are not there to look at a device only."""
        return [executor for executor in self.executors if executor.domain != "(probe)"]


@dataclass
class StoredObject:
    """An object of the scripted store."""

    data: bytes
    etag: str
    activation: str | None = None


class ScriptedMover:
    """A mover over a store in memory; `script` sees each request first and answers with `answer`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.objects: dict[tuple[str, str], StoredObject] = {}
        self.script: Callable[[_MoverPeer, Frame], bool] = _never
        self.requests: list[Frame] = []
        self.leased: set[str] = set()
        self.epochs: list[str] = []
        self.changed = threading.Condition()
        self._count = count(1)
        self._host: set[str] = set()
        self._peer: _MoverPeer | None = None
        self._listening: socket.socket | None = None

    def start(self) -> None:
        """Listen, also again after `stop`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(str(self.path))
        self._listening.listen()
        threading.Thread(target=self._accept, args=(self._listening,), name="mover", daemon=True).start()

    def stop(self) -> None:
        """Die as a killed process does."""
        if self._listening is not None:
            with contextlib.suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
        if self._peer is not None:
            self._peer.close()
            self._peer.closed.wait(10)
        self._host.clear()

    def put(self, bucket: str, key: str, data: bytes, activation: str | None = None) -> str:
        """Store an object; returns its etag."""
        etag = hashlib.md5(data + os.urandom(4)).hexdigest()
        self.objects[bucket, key] = StoredObject(data, etag, activation)
        return etag

    def of(self, kind: str) -> list[Frame]:
        """The requests of one kind so far."""
        return [frame for frame in self.requests if frame["type"] == kind]

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that requests change is so."""
        with self.changed:
            assert self.changed.wait_for(condition, 30)

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listening.accept()
                self._peer = _MoverPeer(self, Link(sock))
                self._peer.thread.start()

    def name_segment(self) -> str:
        """A new segment's name."""
        return f"segment-{next(self._count)}"


class _MoverPeer(_Peer):
    def __init__(self, mover: ScriptedMover, link: Link) -> None:
        super().__init__(link, "mover-connection")
        self.mover = mover
        self._memory: dict[str, int] = {}

    def on_end(self) -> None:
        for descriptor in self._memory.values():
            os.close(descriptor)
        with self.mover.changed:
            self.mover.leased.clear()
            self.mover.changed.notify_all()

    def on_frame(self, frame: Frame, descriptors: list[int]) -> None:
        mover = self.mover
        mover.requests.append(frame)
        if not mover.script(self, frame):
            self.serve(frame)
        with mover.changed:
            mover.changed.notify_all()

    def serve(self, frame: Frame) -> None:
        """Do what a mover does."""
        kind = frame["type"]
        if kind == "hello":
            self.mover.epochs.append(frame["epoch"])
            self.send({"type": "hello", "epoch": frame["epoch"], "boot": "b", "host_bytes": 1 << 30})
        elif kind == "stat":
            self.answer(frame, "stat", origin="store", objects=[self._stat(item) for item in frame["objects"]])
        elif kind == "load":
            self._load(frame)
        elif kind == "alloc":
            self._grant(frame, "allocated", b"\0" * frame["size"])
        elif kind == "store":
            self._store(frame)
        elif kind == "release":
            for name in frame["segments"]:
                self.mover.leased.discard(name)
                os.close(self._memory.pop(name))
        elif kind == "purge":
            self.answer(frame, "purged", bytes=1000)
        elif kind == "status":
            self.answer(frame, "status", used_bytes=0)

    def answer(self, frame: Frame, kind: str, **fields: Any) -> None:
        """Answer a request."""
        self.send({"type": kind, "id": frame["id"], **fields})

    def refuse(self, frame: Frame, code: str) -> bool:
        """Answer a request with an error."""
        self.answer(frame, "error", error=error_frame(code))
        return True

    def refuse_look(self, frame: Frame, code: str) -> bool:
        """Answer a `stat` with an error for each of its objects; nothing else is answered."""
        if frame["type"] != "stat":
            return False
        self.answer(frame, "stat", origin="store", objects=[{"error": error_frame(code)} for _ in frame["objects"]])
        return True

    def _stat(self, item: dict[str, Any]) -> dict[str, Any]:
        found = self.mover.objects.get((item["bucket"], item["key"]))
        if found is None:
            return {"error": error_frame("object_not_found")}
        head = base64.b64encode(found.data[:1024]).decode()
        fields = {"etag": found.etag, "size": len(found.data), "head": head}
        return fields if found.activation is None else {**fields, "activation": found.activation}

    def _load(self, frame: Frame) -> None:
        item = frame["object"]
        found = self.mover.objects.get((item["bucket"], item["key"]))
        name = f"{item['bucket']}/{item['key']}/{item['etag']}"
        if found is None or found.etag != item["etag"]:
            self.refuse(frame, "object_changed")
            return
        source = "host" if name in self.mover._host else "store"
        self.mover._host.add(name)
        data = found.data[item["offset"] : item["offset"] + item["size"]]
        self._grant(frame, "loaded", data, offset=0, size=len(data), source=source)

    def _grant(self, frame: Frame, kind: str, data: bytes, **fields: Any) -> None:
        name = self.mover.name_segment()
        memory = self._memory[name] = os.memfd_create(name)
        os.write(memory, data)
        self.mover.leased.add(name)
        self.send({"type": kind, "id": frame["id"], "segment": name, **fields}, (memory,))

    def _store(self, frame: Frame) -> None:
        item = frame["object"]
        present = self.mover.objects.get((item["bucket"], item["key"]))
        if frame.get("if_match") is not None and (present is None or present.etag != frame["if_match"]):
            self.refuse(frame, "output_conflict")
            return
        data = base64.b64decode(frame["header"]) + os.pread(self._memory[frame["segment"]], frame["size"], 0)
        etag = self.mover.put(item["bucket"], item["key"], data, frame["activation"])
        self.answer(frame, "stored", etag=etag, origin="store")


def _fill(descriptor: int, data: bytes) -> None:
    if data:
        with mmap.mmap(descriptor, len(data)) as mapping:
            mapping[:] = data
