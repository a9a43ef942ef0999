"""What a confined process can still do, tried from inside one."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from kaas_pool.sandbox import Walls, describe, landlock, seccomp

needs_landlock = pytest.mark.skipif(landlock.version() == 0, reason="this kernel has no Landlock")
needs_seccomp = pytest.mark.skipif(not seccomp.available(), reason="no system-call filter here")

_ATTEMPTS = """
import ctypes, errno, json, os, pathlib, resource, socket, subprocess, sys, threading

RESULTS = {}
LIBC = ctypes.CDLL(None, use_errno=True)

def attempt(name, action):
    try:
        action()
    except OSError as error:
        RESULTS[name] = errno.errorcode.get(error.errno, str(error.errno))
    else:
        RESULTS[name] = "ok"

def call(number, *arguments):
    if LIBC.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)) == -1:
        raise OSError(ctypes.get_errno(), "")
"""


def confined(tmp_path: Path, confine: str, attempts: str) -> dict[str, Any]:
    """Run `confine`, then `attempts` (which fill RESULTS), in a fresh process."""
    code = _ATTEMPTS + "from kaas_pool.sandbox import confine_compiler, confine_executor\n"
    code += f"SCRATCH = pathlib.Path({str(tmp_path / 'scratch')!r})\n{confine}\n"
    code += textwrap.dedent(attempts) + "\nsys.stdout.write(json.dumps(RESULTS))\n"
    (tmp_path / "scratch").mkdir(exist_ok=True)
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert child.returncode == 0, child.stderr
    results: dict[str, Any] = json.loads(child.stdout)
    return results


@needs_landlock
def test_executor_files(tmp_path: Path) -> None:
    secret = tmp_path / "stores.json"
    secret.write_text("secret")
    readable = tmp_path / "driver"
    readable.mkdir()
    (readable / "libcuda.so.1").write_text("elf")
    results = confined(
        tmp_path,
        f"confine_executor('emulated', readable=[pathlib.Path({str(readable)!r})], scratch=SCRATCH)",
        f"""
        attempt("secret", lambda: open({str(secret)!r}))
        attempt("passwd", lambda: open("/etc/passwd"))
        attempt("list root", lambda: os.listdir("/"))
        attempt("environment of the parent", lambda: open("/proc/%d/environ" % os.getppid()))
        attempt("driver", lambda: open({str(readable / "libcuda.so.1")!r}).read())
        attempt("write to driver", lambda: open({str(readable / "libcuda.so.1")!r}, "w"))
        attempt("scratch", lambda: (SCRATCH / "image.so").write_text("elf"))
        attempt("rename", lambda: (SCRATCH / "image.so").rename(SCRATCH / "other.so"))
        attempt("unlink", lambda: (SCRATCH / "other.so").unlink())
        attempt("link to secret", lambda: os.link({str(secret)!r}, SCRATCH / "link"))
        attempt("temporary folder", lambda: open("/tmp/kaas-sandbox-test", "w"))
        import decimal
        """,
    )
    denied = {"secret", "passwd", "list root", "environment of the parent", "write to driver", "temporary folder"}
    assert {name for name, outcome in results.items() if outcome == "EACCES"} == denied
    assert results["link to secret"] in ("EACCES", "EXDEV")
    assert {results[name] for name in ("driver", "scratch", "rename", "unlink")} == {"ok"}


@needs_seccomp
def test_executor_calls(tmp_path: Path) -> None:
    results = confined(
        tmp_path,
        "confine_executor('emulated', scratch=SCRATCH)",
        """
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        attempt("internet socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        attempt("unix socket", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        attempt("datagram pair", lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
        attempt("frames", lambda: socket.send_fds(one, [b"x"], [0]) and socket.recv_fds(other, 1, 1))
        attempt("thread", lambda: threading.Thread(target=lambda: None).start())
        attempt("fork", os.fork)
        attempt("exec", lambda: os.execv("/bin/true", ["true"]))
        attempt("subprocess", lambda: subprocess.run(["/bin/true"]))
        attempt("memfd", lambda: os.close(os.memfd_create("x")))
        for name, number in [("ptrace", 101), ("keyctl", 250), ("bpf", 321), ("userfaultfd", 323), ("io_uring", 425),
                             ("mount", 165), ("unshare", 272), ("process_vm_readv", 310), ("setsid", 112)]:
            attempt(name, lambda number=number: call(number, 0, 0, 0, 0, 0))
        pid, path = os.getppid(), str(SCRATCH)
        attempt("limits of another", lambda: resource.prlimit(pid, resource.RLIMIT_CPU, (60, 60)))
        attempt("own limits", lambda: resource.getrlimit(resource.RLIMIT_CPU))
        attempt("affinity of another", lambda: os.sched_setaffinity(pid, os.sched_getaffinity(0)))
        attempt("own affinity", lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)))
        attempt("priority of another", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
        attempt("signal", lambda: os.kill(pid, 0))
        attempt("mode", lambda: os.chmod(path, 0o700))
        attempt("owner", lambda: os.chown(path, os.getuid(), -1))
        attempt("times", lambda: os.utime(path))
        attempt("attribute", lambda: os.setxattr(path, "user.kaas", b"x"))
        attempt("shared memory by number", lambda: call(29, 0x6B616173, 4096, 0o1666))
        attempt("watching files", lambda: call(294, 0))
        attempt("clone3", lambda: call(435, 0, 0))
        attempt("namespace by clone", lambda: call(56, 0x10000000 | 0x00010000, 0, 0, 0, 0))
        attempt("death signal", lambda: call(157, 1, 0, 0, 0))
        attempt("thread name", lambda: call(157, 16, id(b"x" * 64) + 32, 0, 0))
        """,
    )
    assert results.pop("clone3") == "ENOSYS"
    allowed = {"frames", "thread", "memfd", "thread name", "own limits", "own affinity"}
    assert {name for name, outcome in results.items() if outcome == "ok"} == allowed
    assert {outcome for name, outcome in results.items() if name not in allowed} == {"EPERM"}


@needs_seccomp
def test_cuda_executor_makes_unix_sockets_but_reaches_nobody(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()
        results = confined(
            tmp_path,
            "confine_executor('cuda', scratch=SCRATCH)",
            f"""
            unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            attempt("connect", lambda: unix.connect({str(path)!r}))
            attempt("abstract bind", lambda: unix.bind(chr(0) + "kaas-test-%d" % os.getpid()))
            attempt("datagram", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            attempt("internet socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            """,
        )
    assert results == {"connect": "EPERM", "abstract bind": "ok", "datagram": "EPERM", "internet socket": "EPERM"}


@needs_landlock
def test_compiler_runs_the_host_compiler_and_nothing_else(tmp_path: Path) -> None:
    results = confined(
        tmp_path,
        "os.environ['TMPDIR'] = str(SCRATCH)\nconfine_compiler(SCRATCH)",
        """
        (SCRATCH / "ok.cpp").write_text('#include <cstdio>\\nint answer() { return 42; }')
        run = ["g++", "-shared", "-fPIC", str(SCRATCH / "ok.cpp"), "-o", str(SCRATCH / "ok.so")]
        done = subprocess.run(run, capture_output=True, text=True)
        RESULTS["g++"] = done.returncode, done.stderr
        RESULTS["built"] = (SCRATCH / "ok.so").exists()
        attempt("shell", lambda: subprocess.run(["/bin/sh", "-c", "true"]))
        attempt("passwd", lambda: open("/etc/passwd"))
        attempt("python's modules", lambda: open(json.__file__))
        attempt("internet socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        """,
    )
    assert results["g++"] == [0, ""]
    assert results["built"] is True
    assert (results["shell"], results["passwd"], results["python's modules"]) == ("EACCES", "EACCES", "EACCES")
    assert results["internet socket"] in ("EPERM", "EACCES")


def test_limits(tmp_path: Path) -> None:
    results = confined(
        tmp_path,
        "confine_compiler(SCRATCH, allow_unsandboxed=True)",
        """
        import resource
        for name in ("AS", "CPU", "FSIZE", "CORE"):
            RESULTS[name] = resource.getrlimit(getattr(resource, "RLIMIT_" + name))
        attempt("big file", lambda: os.posix_fallocate(os.memfd_create("x"), 0, 65 << 20))
        """,
    )
    assert results["AS"] == [4 << 30, 4 << 30]
    assert results["CPU"] == [60, 60]
    assert results["FSIZE"] == [64 << 20, 64 << 20]
    assert results["CORE"] == [0, 0]
    assert results["big file"] == "EFBIG"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to lose")
def test_root_loses_its_capabilities(tmp_path: Path) -> None:
    results = confined(
        tmp_path,
        "confine_executor('emulated', scratch=SCRATCH, allow_unsandboxed=True)",
        """
        fields = dict(line.split(":", 1) for line in open("/proc/self/status") if line.startswith(("Cap", "NoNew")))
        RESULTS.update({name: value.strip() for name, value in fields.items()})
        """,
    )
    assert {results["CapEff"], results["CapPrm"], results["CapInh"]} == {"0000000000000000"}
    assert results["NoNewPrivs"] == "1"


@needs_landlock
def test_a_machine_without_walls_is_refused(tmp_path: Path) -> None:
    results = confined(
        tmp_path,
        """
from kaas.errors import PlatformError
from kaas_pool.sandbox import landlock
landlock.version = lambda: 0
try:
    confine_executor('emulated', scratch=SCRATCH)
except PlatformError as error:
    RESULTS["refused"] = error.code
walls = confine_executor('emulated', scratch=SCRATCH, allow_unsandboxed=True)
RESULTS["allowed"] = str(walls)
""",
        "attempt('passwd', lambda: open('/etc/passwd'))",
    )
    assert results["refused"] == "sandbox_unavailable"
    assert results["allowed"].startswith("NO WALL AROUND FILES")
    assert results["passwd"] == "ok"


def test_walls_as_text() -> None:
    assert str(Walls(landlock=7, seccomp=True, network_namespace=True)) == "landlock 7, seccomp, no network"
    assert str(Walls(bubblewrap=True)) == "bubblewrap, no network"
    assert str(Walls(landlock=1)) == "landlock 1, NETWORK REACHABLE"
    assert str(Walls()) == "NO WALL AROUND FILES, NETWORK REACHABLE"


@needs_landlock
def test_describe_asks_a_real_child() -> None:
    walls = describe("emulated")
    assert walls.landlock == landlock.version()
    assert walls.holds_files


@pytest.mark.parametrize(("version", "rights"), [(1, 13), (2, 14), (3, 15), (4, 15), (5, 16), (7, 16)])
def test_each_landlock_version_restricts_all_it_knows(version: int, rights: int) -> None:
    assert landlock.file_rights(version) == (1 << rights) - 1


def test_errno_names_are_what_the_filter_answers() -> None:
    body = seccomp.assemble(seccomp.Filter(processes=False, unix_sockets=False))
    assert len(body) % 8 == 0
    assert (0x00050000 | errno.EPERM).to_bytes(4, sys.byteorder) in body
    assert len(body) // 8 < 4096, "the kernel's limit on instructions"
