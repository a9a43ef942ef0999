"""Requests that arrive at fixed times, whether or not those before have been answered: `python arrivals.py < PLAN`.

The plan is JSON: {"port", "requests": [texts, sent in turn], "expected": a text of every good answer, "per_minute",
"count"}. Standard output gets {"ms": [of each request, from the time when it was due to its answer; null if that was
not good], "failures": [texts], "late_ms": the latest that a request was sent, "at_a_time": the most that waited for an
answer}. Progress goes to standard error.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import null_invocation

#: A blocking invocation is answered after 60 s at the latest.
_PATIENCE_SECONDS = 70.0

_PROGRESS_SECONDS = 15


@dataclass
class Outcome:
    """What came of the requests so far; see above."""

    ms: list[float | None]
    failures: list[str] = field(default_factory=list)
    late_ms: float = 0.0
    at_a_time: int = 0


class Arrivals:
    """Sends on kept connections, of which there are as many as are needed at a time."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._port: int = plan["port"]
        self._requests = [text.encode() for text in plan["requests"]]
        self._expected: bytes = plan["expected"].encode()
        self._interval: float = 60.0 / plan["per_minute"]
        self._count: int = plan["count"]
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._waiting = 0
        self._outcome = Outcome([None] * self._count)

    async def run(self) -> Outcome:
        """Send them all, and wait for the answers."""
        begun = time.monotonic() + self._interval
        tasks = []
        for number in range(self._count):
            due = begun + number * self._interval
            await asyncio.sleep(due - time.monotonic())
            tasks.append(asyncio.create_task(self._send(number, due)))
            if number % max(1, round(_PROGRESS_SECONDS / self._interval)) == 0:
                failed = len(self._outcome.failures)
                print(f"{number} of {self._count} sent, {self._waiting} wait, {failed} failed", file=sys.stderr)
        await asyncio.gather(*tasks)
        for _, writer in self._idle:
            writer.close()
        return self._outcome

    async def _send(self, number: int, due: float) -> None:
        message = self._requests[number % len(self._requests)]
        outcome = self._outcome
        self._waiting += 1
        outcome.at_a_time = max(outcome.at_a_time, self._waiting)
        outcome.late_ms = max(outcome.late_ms, (time.monotonic() - due) * 1e3)
        try:
            status, body = await asyncio.wait_for(self._answer(message), _PATIENCE_SECONDS)
            if status == 200 and self._expected in body:
                outcome.ms[number] = (time.monotonic() - due) * 1e3
            else:
                outcome.failures.append(f"{status} {body[:400]!r}")
        except (OSError, EOFError, ValueError, asyncio.TimeoutError) as error:
            outcome.failures.append(f"{type(error).__name__}: {error}")
        finally:
            self._waiting -= 1

    async def _answer(self, message: bytes) -> tuple[int, bytes]:
        connection = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = connection
        try:
            writer.write(message)
            found = await null_invocation.answer(reader)
        except BaseException:
            writer.close()
            raise
        self._idle.append(connection)
        return found


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(Arrivals(json.load(sys.stdin)).run()))))
