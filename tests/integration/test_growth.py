"""Nothing grows with the number of invocations: memory and descriptors of every process that stays."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from front_process import SAXPY
from pool_calls import done
from pool_process import PoolProcess

#: The first so many fill what is bounded: outcomes of the last hour, plans, pools of memory.
WARM, COUNT, CLIENTS = 3000, 10_000, 4

#: What an outcome takes of the front while memory holds it (20,000 at most, then the disk), and a little for the rest.
OUTCOME_BYTES = 4096
SLACK_BYTES = 8 << 20


def invoke(pool: PoolProcess, digest: str, count: int) -> None:
    """So many invocations over several connections, each checked."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            client = pool.client()
            for number in range(count // CLIENTS):
                arguments = {"x": [number % 7, 2.0], "y": [1.0, 1.0], "z": "inline", "a": 2}
                assert done(client.invoke(digest, arguments))["z"] == [2.0 * (number % 7) + 1, 5.0]
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


def resident_bytes(pid: int) -> int:
    """Anonymous and shared memory of a process, without mapped files."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return sum(int(fields[name].split()[0]) << 10 for name in ("RssAnon", "RssShmem"))


@pytest.mark.timeout(600)
def test_ten_thousand_invocations_leave_nothing_behind(tmp_path: Path) -> None:
    with PoolProcess(tmp_path / "pool", {}) as pool:
        digest = pool.client().upload(SAXPY)
        invoke(pool, digest, WARM)
        assert pool.process is not None
        (executor,) = pool.executor_pids()
        stay = {"supervisor": pool.process.pid, "front": pool.front_pid, "mover": pool.mover_pid()}
        before = {name: resident_bytes(pid) for name, pid in {**stay, "executor": executor}.items()}
        descriptors = pool.descriptors()
        invoke(pool, digest, COUNT)
        assert pool.executor_pids() == [executor]
        grown = {name: resident_bytes(pid) - before[name] for name, pid in {**stay, "executor": executor}.items()}
        grown["front"] -= COUNT * OUTCOME_BYTES
        assert max(grown.values()) < SLACK_BYTES, grown
        # The front may not have closed its side of the clients' connections yet, before or after.
        opened = {name: count - descriptors[name] for name, count in pool.descriptors().items()}
        assert max(opened.values()) <= CLIENTS, opened
