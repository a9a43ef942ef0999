"""A whole pool: supervisor, front, mover, compilers and executors as real processes on the emulated device."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from front_process import PATIENCE, HttpClient, wait_until, write_tokens


def descendants(root: int) -> list[int]:
    """All processes below one, from /proc."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


class PoolProcess:
    """`python -m kaas_pool` in a state directory of its own; use as a context manager.

    `stores` is the `tenants` object of stores.json. The tokens are those of front_process.py.
    """

    def __init__(self, state: Path, stores: Mapping[str, Any], *arguments: str) -> None:
        self.state = state
        self.log = state.with_suffix(".log")
        self._stores = stores
        self._arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> PoolProcess:
        self.state.mkdir(parents=True, exist_ok=True)
        write_tokens(self.state / "tokens.json")
        stores = self.state / "stores.json"
        stores.touch(0o600)
        stores.write_text(json.dumps({"tenants": self._stores}))
        command = [sys.executable, "-m", "kaas_pool", "--state-dir", str(self.state), "--device", "emulated"]
        command += ["--listen", "127.0.0.1:0", *self._arguments]
        self.start(command)
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def start(self, command: list[str]) -> None:
        """Start the process."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """SIGTERM, and the exit status; what does not end is killed."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()

    def wait_until_ready(self, path: str = "/healthz/ready") -> None:
        """Wait until invocations would be served, or whatever else 200 at `path` says."""
        announcement = self.state / "run" / "front.json"

        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            try:
                self.port = json.loads(announcement.read_text())["port"]
                return self.client(None).get(path).status == 200
            except (OSError, ValueError):
                return False

        wait_until(ready)

    def client(self, token: str | None = "alice-token") -> HttpClient:
        """A client under a token."""
        return HttpClient(self.port, token)

    @property
    def front_pid(self) -> int:
        """The front's process."""
        return int(json.loads((self.state / "run" / "front.json").read_text())["pid"])

    def executor_pids(self) -> list[int]:
        """All executors that serve now."""
        devices = self.client("admin-token").get("/v1/devices").body["devices"]
        return [executor["pid"] for device in devices for executor in device["executors"]]

    def mover_pid(self) -> int:
        """The mover's process."""
        return int((self.state / "run" / "mover.pid").read_text())

    def processes(self) -> dict[str, int]:
        """Its processes but for the supervisor, by name: `front`, `mover`, `executor-3`, `compiler-7`."""
        found: dict[str, int] = {}
        for path in (self.state / "run").glob("*.pid"):
            if path.stem == "pool":
                continue
            # One that ends takes its file along.
            with contextlib.suppress(FileNotFoundError, ValueError):
                found[path.stem] = int(path.read_text())
        return found

    def descendants(self) -> set[int]:
        """All processes below the supervisor, from /proc."""
        assert self.process is not None
        return set(descendants(self.process.pid))

    def descriptors(self) -> dict[str, int]:
        """How many descriptors the processes that stay have open; only root may count the mover's."""
        assert self.process is not None
        stay = {"supervisor": self.process.pid, "front": self.front_pid}
        if os.geteuid() == 0:
            stay["mover"] = self.mover_pid()
        return {name: len(list(Path(f"/proc/{pid}/fd").iterdir())) for name, pid in stay.items()}

    def kill(self, pid: int) -> None:
        """SIGKILL one of its processes."""
        os.kill(pid, signal.SIGKILL)
