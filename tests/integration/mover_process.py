"""A real mover process, and a front's side of the conversation with it."""

from __future__ import annotations

import base64
import json
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from kaas_pool.frames import Frame, Link

_PATIENCE_SECONDS = 60.0


def error_code(frame: Frame) -> str:
    """The code of an `error` answer, or of one entry of a `stat` answer; it has a message."""
    error = frame["error"]
    assert error["message"], frame
    return str(error["code"])


class MoverProcess:
    """`python -m kaas_pool.mover` in a directory of its own; use as a context manager."""

    def __init__(self, directory: Path, tenants: Mapping[str, Any], *arguments: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.socket = directory / "run" / "mover.sock"
        self.stores = directory / "stores.json"
        self._arguments = arguments
        self.write_stores(tenants)
        self.process = self._start()

    def write_stores(self, tenants: Mapping[str, Any]) -> None:
        """Replace stores.json."""
        self.stores.touch(0o600)
        self.stores.write_text(json.dumps({"tenants": tenants}))

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "kaas_pool.mover",
                f"--socket={self.socket}",
                f"--stores={self.stores}",
                *self._arguments,
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.process = process
        self.wait_for_log("listening")
        return process

    def wait_for_log(self, text: str) -> None:
        """Read the log until a line has this text."""
        assert self.process.stderr is not None
        seen = []
        for line in self.process.stderr:
            seen.append(line)
            if text in line:
                return
        raise AssertionError("".join(seen))

    def restart(self) -> None:
        """Start again after a kill."""
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        self._start()

    def __enter__(self) -> MoverProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def front(self, epoch: str = "1") -> Front:
        """A new connection that has said hello."""
        return Front(self.socket, epoch)


class Front:
    """A front's end of a link: numbers its requests and keeps answers by number."""

    def __init__(self, path: Path, epoch: str) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(os.fspath(path))
        self.link = Link(sock)
        self._ids = count(1)
        self._answers: dict[Any, tuple[Frame, list[int]]] = {}
        self.link.send({"type": "hello", "epoch": epoch})
        self.hello, _ = self._receive()

    def __enter__(self) -> Front:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()
        for _frame, descriptors in self._answers.values():
            for descriptor in descriptors:
                os.close(descriptor)

    def ask(self, kind: str, **fields: Any) -> int:
        """Send a request and return its id."""
        identifier = next(self._ids)
        self.link.send({"type": kind, "id": identifier, **fields})
        return identifier

    def answer(self, identifier: int) -> tuple[Frame, list[int]]:
        """The answer to a request and its descriptors, which are the caller's."""
        while identifier not in self._answers:
            answer = self._receive()
            self._answers[answer[0]["id"]] = answer
        return self._answers.pop(identifier)

    def call(self, kind: str, **fields: Any) -> Frame:
        """Ask and wait; for answers without descriptors."""
        frame, descriptors = self.answer(self.ask(kind, **fields))
        assert not descriptors
        return frame

    def stat(self, tenant: str, bucket: str, key: str, head_bytes: int = 128, scheme: str = "s3") -> dict[str, Any]:
        """What the mover knows of one object."""
        frame = self.call(
            "stat", tenant=tenant, objects=[{"scheme": scheme, "bucket": bucket, "key": key}], head_bytes=head_bytes
        )
        assert frame["type"] == "stat", frame
        result: dict[str, Any] = frame["objects"][0]
        return result

    def ask_load(
        self,
        tenant: str,
        bucket: str,
        key: str,
        found: Mapping[str, Any],
        offset: int = 0,
        size: int | None = None,
        domain: str | None = None,
        scheme: str = "s3",
    ) -> int:
        """Request a range of what `stat` has found; all of it by default."""
        item: dict[str, Any] = {"scheme": scheme, "bucket": bucket, "key": key, "etag": found["etag"], "offset": offset}
        item["size"] = found["size"] - offset if size is None else size
        return self.ask("load", tenant=tenant, domain=domain or tenant, object=item)

    def alloc(self, domain: str, size: int) -> tuple[str, int]:
        """A segment for results and its descriptor."""
        frame, (descriptor,) = self.answer(self.ask("alloc", domain=domain, size=size))
        assert frame["type"] == "allocated", frame
        return frame["segment"], descriptor

    def ask_store(
        self,
        tenant: str,
        segment: str,
        size: int,
        bucket: str,
        key: str,
        header: bytes = b"",
        if_match: str | None = None,
        activation: str = "act-1",
        scheme: str = "s3",
    ) -> int:
        """Request a PUT of a segment."""
        return self.ask(
            "store",
            tenant=tenant,
            segment=segment,
            size=size,
            header=base64.b64encode(header).decode(),
            object={"scheme": scheme, "bucket": bucket, "key": key},
            if_match=if_match,
            activation=activation,
        )

    def status(self) -> Frame:
        """The mover's counters."""
        return self.call("status")

    def _receive(self) -> tuple[Frame, list[int]]:
        poll = select.poll()
        poll.register(self.link.fileno(), select.POLLIN)
        assert poll.poll(_PATIENCE_SECONDS * 1000), "the mover does not answer"
        return self.link.receive()


def contents(frame: Frame, descriptors: list[int]) -> bytes:
    """The bytes of a `loaded` answer; closes its descriptor."""
    assert frame["type"] == "loaded", frame
    (descriptor,) = descriptors
    try:
        if not frame["size"]:
            return b""
        with mmap.mmap(descriptor, frame["offset"] + frame["size"], mmap.MAP_SHARED, mmap.PROT_READ) as mapping:
            return mapping[frame["offset"] :]
    finally:
        os.close(descriptor)


def fill(descriptor: int, data: bytes) -> None:
    """Write results as an executor does; closes the descriptor."""
    with mmap.mmap(descriptor, max(1, len(data))) as mapping:
        mapping[: len(data)] = data
    os.close(descriptor)
