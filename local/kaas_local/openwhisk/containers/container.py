"""One process that holds one revision of an action."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from kaas_local.openwhisk.clock import now_ms
from kaas_local.openwhisk.containers import answers
from kaas_local.openwhisk.containers.answers import Outcome, Reply
from kaas_local.openwhisk.containers.archive import ArchiveError, unpack
from kaas_local.openwhisk.containers.channels import Channel, FrameChannel, GoneError, HttpChannel
from kaas_local.openwhisk.containers.logs import Log, Sections
from kaas_local.openwhisk.containers.model import DEVELOPER_ERROR, Call, Executable
from kaas_local.openwhisk.containers.process import Process
from kaas_local.openwhisk.containers.programs import Program

_DATA_MISSING = b"The action did not initialize or run as expected. Log data might be missing."

_numbers = itertools.count()


class Container:
    """Started and initialised by `init`, then runs calls; ended by `close` alone."""

    def __init__(self, executable: Executable, program: Program, directory: Path) -> None:
        """Its files go into a directory of its own under `directory`."""
        self._executable = executable
        self._program = program
        self._directory = directory / f"{os.getpid()}-{next(_numbers)}"
        self._process: Process | None = None
        self._channel: Channel | None = None
        self._log = Log(executable.logs_mb)
        self._sections = Sections(executable.logs_mb)
        self._is_broken = False
        #: Calls that it runs now.
        self.calls = 0

    @property
    def is_broken(self) -> bool:
        """Whether it must not get another call."""
        return (
            self._is_broken
            or (self._process is not None and self._process.has_ended)
            or (self._channel is not None and self._channel.is_broken)
        )

    def give_up(self) -> None:
        """Let it have no other call."""
        self._is_broken = True

    async def init(self, call: Call) -> Outcome | None:
        """Start the process and send `/init`; None if that went well."""
        executable, program = self._executable, self._program
        if not executable.code:
            return answers.failed(answers.NO_CODE)
        home = self._directory / "action"
        self._directory.mkdir(mode=0o700)
        home.mkdir()
        (self._directory / "tmp").mkdir()
        value: dict[str, Any] = {"name": executable.name, "main": executable.main or "main"}
        value |= {"binary": executable.binary, "env": {**executable.env, **_environment(executable, call)}}
        if executable.binary and program.is_code:
            try:
                await asyncio.to_thread(unpack, executable.code, home)
            except ArchiveError as error:
                return answers.failed(f"cannot decode the request: {error}")
        else:
            value["code"] = executable.code
        channel: Channel = FrameChannel() if program.is_code else HttpChannel(self._directory / "proxy")
        self._channel = channel
        self._process = Process(
            [part.replace("{}", str(channel.descriptor)) for part in program.command],
            environment={
                **program.environment,
                "HOME": str(self._directory),
                "TMPDIR": str(self._directory / "tmp"),
                "__OW_API_HOST": call.api_host,
            },
            directory=home,
            memory_mb=executable.memory_mb if program.is_code else 0,
            descriptor=channel.descriptor,
            sink=self._log if program.is_code else self._sections,
        )
        reply = await self._ask(channel.post("/init", {"value": value}), in_init=True)
        return answers.of_init(reply) if isinstance(reply, Reply) else reply

    async def run(self, call: Call) -> Outcome:
        """Send `/run`."""
        assert self._channel is not None
        executable = self._executable
        fields = _fields(executable, call)
        reply = await self._ask(self._channel.post("/run", {"value": call.value, **fields}), in_init=False)
        return answers.of_run(reply) if isinstance(reply, Reply) else reply

    def log_of(self, call: Call, outcome: Outcome) -> tuple[str, ...]:
        """What has been written for an activation that has just ended; asked for once."""
        if self._process is not None:
            self._process.streams.drain()
        if self._program.is_code:
            log, self._log = self._log, Log(self._executable.logs_mb)
            if self._process is not None:
                self._process.streams.sink = self._log
        else:
            log = self._sections.take(call.activation_id)
        if outcome.status == DEVELOPER_ERROR:
            log.add("stderr", _DATA_MISSING)
        return log.lines()

    async def close(self) -> None:
        """Kill what is left of the process, and remove its files."""
        self._is_broken = True
        if self._process is not None:
            await self._process.end()
        if self._channel is not None:
            self._channel.close()
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def _ask(self, reply: Awaitable[Reply], *, in_init: bool) -> Reply | Outcome:
        """The reply, or what its absence comes to; then the process of code has ended."""
        assert self._process is not None
        self._process.pause(False)
        try:
            answer = await asyncio.wait_for(reply, self._executable.timeout_ms / 1000)
        except asyncio.TimeoutError:
            await self._end_code()
            return answers.timed_out(self._executable.timeout_ms, in_init=in_init)
        except GoneError:
            if await self._process.end():
                return answers.failed(answers.MEMORY_EXHAUSTED)
            if in_init and self._program.last_words is not None:
                self._log.add("stderr", self._program.last_words.encode())
            return answers.failed(self._program.gone_in_init if in_init else self._program.gone_in_run)
        self._process.pause(self._program.is_code and not in_init)  # A `/run` follows an `/init`.
        return answer

    async def _end_code(self) -> None:
        """A process that runs several calls stays until the others have ended."""
        if self._program.is_code and self._process is not None:
            await self._process.end()


def _fields(executable: Executable, call: Call) -> dict[str, str]:
    """What OpenWhisk tells an action of an activation, besides its arguments."""
    deadline = now_ms() + executable.timeout_ms
    fields = {
        "namespace": call.namespace,
        "action_name": f"/{executable.namespace}/{executable.name}",
        "action_version": executable.version,
        "activation_id": call.activation_id,
        "transaction_id": call.transaction_id,
        "deadline": str(deadline),
    }
    if call.api_key is not None:
        fields["api_key"] = call.api_key
    return fields


def _environment(executable: Executable, call: Call) -> dict[str, str]:
    return {f"__OW_{key.upper()}": text for key, text in _fields(executable, call).items()}
