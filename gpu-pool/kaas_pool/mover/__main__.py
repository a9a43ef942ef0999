"""`python -m kaas_pool.mover`: start the mover."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import logging
import os
import re
import resource
import secrets
import signal
import socket
import stat
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

from kaas_pool.frames import Link
from kaas_pool.mover.host_tier import HostTier
from kaas_pool.mover.server import Mover
from kaas_pool.mover.stores.file import FileStore
from kaas_pool.mover.stores_file import StoreRights, StoresFileError, read_stores_file
from kaas_pool.mover.tenants import Tenants
from kaas_pool.mover.workers import Workers

_log = logging.getLogger("kaas.mover")

#: How long PUTs under way may take after SIGTERM.
DRAIN_SECONDS = 10.0

#: Descriptors that are no segments: connections to stores and fronts, frames on their way.
_RESERVED_DESCRIPTORS = 256
_PR_SET_DUMPABLE = 4
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class StartError(Exception):
    """The mover cannot start; the message says why and what to do."""


def parse_bytes(text: str) -> int:
    """A number of bytes, with K, M, G or T for powers of 1024."""
    found = re.fullmatch(r"(\d+)([KMGT]?)", text)
    if found is None or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write for example 2G")
    return int(found[1]) * _UNITS[found[2]]


def main() -> int:
    """Run until SIGTERM or SIGINT; 2 when the arguments or files are unusable."""
    parser = argparse.ArgumentParser(
        prog="python -m kaas_pool.mover",
        description="Moves data between object stores and host memory for the pool's front.",
    )
    parser.add_argument("--socket", type=Path, required=True, help="the path to listen on; its directory is made 0700")
    parser.add_argument("--stores", type=Path, help="the stores file (0600); SIGHUP reads it again")
    parser.add_argument(
        "--host-bytes", type=parse_bytes, default=parse_bytes("2G"), help="the host tier's size (default 2G)"
    )
    parser.add_argument(
        "--allow-file-root",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="let every tenant read and write files under DIR by file:// references; may be repeated",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s mover %(levelname)s %(message)s", stream=sys.stderr)
    try:
        _hide_memory()
        rights: Mapping[str, StoreRights] = read_stores_file(arguments.stores) if arguments.stores else {}
        files = FileStore(arguments.allow_file_root) if arguments.allow_file_root else None
        listener = _listen(arguments.socket)
    except (StartError, StoresFileError, OSError) as error:
        _log.error("cannot start: %s", error)
        return 2
    boot = secrets.token_hex(4)
    tier = HostTier(arguments.host_bytes, _max_segments(), boot)
    tenants = Tenants(rights, files)
    try:
        asyncio.run(_serve(listener, Mover(tenants, tier, Workers(), boot), tenants, arguments.stores))
    finally:
        listener.close()
        arguments.socket.unlink(missing_ok=True)
    # Not a return: a thread that a silent store holds up would keep the process for as long as the store likes.
    logging.shutdown()
    os._exit(0)


async def _serve(listener: socket.socket, mover: Mover, tenants: Tenants, stores: Path | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _reload, tenants, stores)
    loop.add_reader(listener, _accept, listener, mover)
    _log.info("listening on %s", listener.getsockname())
    await stop.wait()
    loop.remove_reader(listener)
    await mover.drain(DRAIN_SECONDS)


def _reload(tenants: Tenants, stores: Path | None) -> None:
    if stores is None:
        return
    try:
        tenants.update(read_stores_file(stores))
    except StoresFileError as error:
        _log.error("keeping the old rights: %s", error)
    else:
        _log.info("read %s again", stores)


def _accept(listener: socket.socket, mover: Mover) -> None:
    try:
        connection, _ = listener.accept()
    except OSError as error:
        _log.warning("cannot accept: %s", error)
        return
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    if uid != os.geteuid():
        _log.warning("refused a connection of user %d", uid)
        connection.close()
        return
    mover.accept(Link(connection))


def _listen(path: Path) -> socket.socket:
    directory = path.parent
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.stat()
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise StartError(f"{directory} must belong to this user alone: chmod 700 {directory}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        if path.is_socket():
            try:
                listener.connect(os.fspath(path))
            except ConnectionRefusedError:
                path.unlink()  # left by a mover that was killed
            else:
                raise StartError(f"another mover serves {path}")
        mask = os.umask(0o177)
        try:
            listener.bind(os.fspath(path))
        finally:
            os.umask(mask)
        listener.listen()
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _hide_memory() -> None:
    """Keep the store credentials out of core dumps and from other processes of this user."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


def _max_segments() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(16, hard - _RESERVED_DESCRIPTORS)


if __name__ == "__main__":
    sys.exit(main())
