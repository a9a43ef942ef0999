"""`python -m kaas_pool.executor`: serves one device for one trust domain. Started by the supervisor."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from kaas.errors import KaasError
from kaas_pool import sandbox
from kaas_pool.executor.device import Device, import_driver
from kaas_pool.executor.loop import FrontLink, Loop
from kaas_pool.executor.printing import Sink
from kaas_pool.executor.worker import ContextLost, Worker
from kaas_pool.frames import Link
from kaas_pool.spawn import LINK

#: Exit status after the context was lost: expected, every invocation has been answered.
CONTEXT_LOST = 70
#: Exit status when the device or the walls could not be had: starting again will not help.
CANNOT_SERVE = 71

#: Invocations that compute at one time, where nothing else is said; copies overlap with them in any case.
SLOTS = 2

_log = logging.getLogger("kaas_pool.executor")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the supervisor's link closes; the exit status."""
    given = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format=f"executor {given.device} {given.domain}: %(message)s")
    try:
        import_driver(given.kind)
        walls = sandbox.confine_executor(given.kind, scratch=given.scratch, allow_unsandboxed=given.allow_unsandboxed)
        device = Device(given.kind, given.device, given.slots)
    except KaasError as error:
        _log.error("%s", error)
        return CANNOT_SERVE
    memory_bytes = min(given.memory_bytes or device.total_bytes, device.total_bytes)
    _log.info("%s, %d bytes, %d slots; walls: %s", device.name, memory_bytes, given.slots, walls)
    sink = Sink()
    sink.redirect()
    front = FrontLink()
    hello = {
        "device": str(given.device),
        "domain": given.domain,
        "pid": os.getpid(),
        "name": device.name,
        "memory_bytes": memory_bytes,
        "compute_capability": list(device.compute_capability),
    }
    try:
        Loop(Link.from_descriptor(LINK), Worker(device, memory_bytes, front.send, sink), front, hello).run()
    except ContextLost as lost:
        _log.error("%s", lost)
        sys.stderr.flush()
        # Not by `exit`: destructors would call into the lost context, and PyCUDA aborts the process then.
        os._exit(CONTEXT_LOST)
    device.close()
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m kaas_pool.executor", description=__doc__)
    add = parser.add_argument
    add("--device", type=int, required=True, help="ordinal of the device")
    add("--kind", choices=("cuda", "emulated"), required=True, help="which driver; never one in place of the other")
    add("--domain", required=True, help="the trust domain served")
    add("--slots", type=int, default=SLOTS, help=f"invocations that compute at one time (default {SLOTS})")
    add("--memory-bytes", type=int, help="device memory to use at most (default: all)")
    add("--scratch", type=Path, help="the only folder that may be written")
    add("--allow-unsandboxed", action="store_true", help="run unconfined where the walls cannot be had")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
