"""A system-call filter: what neither kernels nor compilers need, and what Landlock does not cover, answers EPERM.

It is a list of refusals, not of permissions, because the CUDA driver's needs are not documented; the files are
Landlock's part. x86-64 only. Numbers: the kernel's arch/x86/entry/syscalls/syscall_64.tbl.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import socket
import struct
from dataclasses import dataclass

from kaas_pool.sandbox.kernel import CLONE_NEWNET, PR_SET_PDEATHSIG, PR_SET_SECCOMP, prctl

_SECCOMP_MODE_FILTER = 2
_AUDIT_ARCH_X86_64 = 0xC000003E
_X32_BIT = 0x40000000
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
#: Offsets in `struct seccomp_data`.
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16

#: CLONE_NEWTIME (0x80) to CLONE_NEWNET: namespaces bring capabilities inside them, and with them kernel surface.
_NAMESPACES = 0x80 | 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | CLONE_NEWNET
_CLONE_THREAD = 0x00010000

_SOCKET, _CONNECT, _SENDTO, _SOCKETPAIR, _CLONE, _CLONE3, _IOCTL, _PRCTL = 41, 42, 44, 53, 56, 435, 16, 157
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_SOCKET_TYPE_MASK = 0xF

_REFUSED = {
    "ptrace": 101,
    "syslog": 103,
    "setpgid": 109,
    "setsid": 112,
    "uselib": 134,
    "personality": 135,
    "modify_ldt": 154,
    "pivot_root": 155,
    "adjtimex": 159,
    "chroot": 161,
    "acct": 163,
    "settimeofday": 164,
    "mount": 165,
    "umount2": 166,
    "swapon": 167,
    "swapoff": 168,
    "reboot": 169,
    "sethostname": 170,
    "setdomainname": 171,
    "iopl": 172,
    "ioperm": 173,
    "init_module": 175,
    "delete_module": 176,
    "quotactl": 179,
    "lookup_dcookie": 212,
    "clock_settime": 227,
    "kexec_load": 246,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "unshare": 272,
    "perf_event_open": 298,
    "fanotify_init": 300,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "clock_adjtime": 305,
    "setns": 308,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "kcmp": 312,
    "finit_module": 313,
    "kexec_file_load": 320,
    "bpf": 321,
    "userfaultfd": 323,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "process_mrelease": 448,
}
_PROCESS_CREATION = {"fork": 57, "vfork": 58, "execve": 59, "execveat": 322}

#: Landlock leaves to the owner of a file, wherever it lies, what is in its inode: mode, owner, times, attributes.
_INODES = {
    "chmod": 90,
    "fchmod": 91,
    "chown": 92,
    "fchown": 93,
    "lchown": 94,
    "utime": 132,
    "setxattr": 188,
    "lsetxattr": 189,
    "fsetxattr": 190,
    "removexattr": 197,
    "lremovexattr": 198,
    "fremovexattr": 199,
    "utimes": 235,
    "fchownat": 260,
    "futimesat": 261,
    "fchmodat": 268,
    "utimensat": 280,
    "fchmodat2": 452,
    "setxattrat": 463,
    "removexattrat": 466,
    "file_setattr": 469,
    "inotify_init": 253,
    "inotify_init1": 294,
}
#: Memory and queues that outlive the process and are found by a number, by every process of the user.
_SYSTEM_V = {"shmget": 29, "shmat": 30, "semget": 64, "msgget": 68, "mq_open": 240}
#: What reaches other processes of the same user. Landlock holds signals back from version 6 on only; `tgkill`, by which
#: a process signals itself, is left to it.
_OTHER_PROCESSES = {
    "kill": 62,
    "rt_sigqueueinfo": 129,
    "setpriority": 141,
    "tkill": 200,
    "ioprio_set": 251,
    "migrate_pages": 256,
    "move_pages": 279,
    "rt_tgsigqueueinfo": 297,
    "pidfd_send_signal": 424,
    "pidfd_open": 434,
}
#: As above, but with 0 for a process id they concern the caller.
_OF_A_PROCESS = {
    "sched_setparam": 142,
    "sched_setscheduler": 144,
    "sched_setaffinity": 203,
    "prlimit64": 302,
    "sched_setattr": 314,
}


@dataclass(frozen=True)
class Filter:
    """What a filter leaves open besides threads, files and descriptors that are open already.

    `processes`: fork and exec, and what the host compiler does with the files and processes it makes; without it the
    filter is for user code. `unix_sockets`: making and binding Unix sockets, as the CUDA driver
    does at start; connecting stays refused, because Landlock does not stop a connection to a socket in the file system.
    """

    processes: bool
    unix_sockets: bool


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.c_char_p))


def available() -> bool:
    """Whether a filter can be written for this processor and this kernel takes filters."""
    if platform.machine() != "x86_64":
        return False
    try:
        # A null program: EFAULT says that filters exist, EINVAL that they do not.
        prctl(PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, None)
    except OSError as error:
        return error.errno == errno.EFAULT
    return False


def install(wanted: Filter) -> None:
    """Filter this thread and everything it starts; needs no_new_privs, and cannot be undone. Raises OSError."""
    body = assemble(wanted)
    program = _Program(len(body) // 8, body)
    prctl(PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program))


def assemble(wanted: Filter) -> bytes:
    """The filter as `struct sock_filter`s."""
    refuse = _step(_RETURN, _ERRNO | errno.EPERM)
    allow = _step(_RETURN, _ALLOW)
    numbers = list(_REFUSED.values())
    if not wanted.processes:
        for refused in (_PROCESS_CREATION, _INODES, _SYSTEM_V, _OTHER_PROCESSES):
            numbers += refused.values()
    steps = [
        _step(_LOAD, _ARCH),
        _step(_EQUAL, _AUDIT_ARCH_X86_64, 1, 0),
        refuse,
        _step(_LOAD, _NUMBER),
        _step(_AT_LEAST, _X32_BIT, 0, 1),
        refuse,
    ]
    for number in (*numbers, _CONNECT):
        steps += _when(number, [refuse])
    for number in _OF_A_PROCESS.values():
        steps += _when(number, [_argument(0), _step(_EQUAL, 0, 1, 0), refuse, allow])
    # clone3 hides its flags in memory; without it the C library falls back to clone.
    steps += _when(_CLONE3, [_step(_RETURN, _ERRNO | errno.ENOSYS)])
    clone = [_argument(0), _step(_ANY_BIT, _NAMESPACES, 0, 1), refuse]
    if not wanted.processes:
        clone += [_step(_ANY_BIT, _CLONE_THREAD, 1, 0), refuse]
    steps += _when(_CLONE, [*clone, allow])
    # A datagram socket can send to any address without connecting; only sendto and the type can be seen here.
    not_datagram = [_argument(1), _step(_AND, _SOCKET_TYPE_MASK), _step(_EQUAL, socket.SOCK_DGRAM, 0, 1), refuse]
    steps += _when(_SOCKETPAIR, [*not_datagram, allow])
    if wanted.unix_sockets:
        unix = [_argument(0), _step(_EQUAL, socket.AF_UNIX, 1, 0), refuse]
        steps += _when(_SOCKET, [*unix, *not_datagram, allow])
    else:
        steps += _when(_SOCKET, [refuse])
    no_address = [
        _argument(4),
        _step(_EQUAL, 0, 1, 0),
        refuse,
        _argument(4, half=1),
        _step(_EQUAL, 0, 1, 0),
        refuse,
    ]
    steps += _when(_SENDTO, [*no_address, allow])
    terminal = [_argument(1), _step(_EQUAL, _TIOCSTI, 1, 0), _step(_EQUAL, _TIOCLINUX, 0, 1), refuse]
    steps += _when(_IOCTL, [*terminal, allow])
    steps += _when(_PRCTL, [_argument(0), _step(_EQUAL, PR_SET_PDEATHSIG, 0, 1), refuse, allow])
    return b"".join([*steps, allow])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _argument(index: int, half: int = 0) -> bytes:
    """Load the low half of an argument, or (1) its high half."""
    return _step(_LOAD, _ARGUMENTS + 8 * index + 4 * half)


def _when(number: int, body: list[bytes]) -> list[bytes]:
    """Run `body`, which must end in a return on every path, for one system call; skip it for the others."""
    return [_step(_EQUAL, number, 0, len(body)), *body]
