"""Landlock, the kernel's sandbox for unprivileged processes (Linux 5.13 on), through three system calls.

Everything that the running kernel's version can restrict is restricted; rules give back what is needed. Source: the
kernel's Documentation/userspace-api/landlock.rst and include/uapi/linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import enum
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kaas_pool.sandbox.kernel import syscall

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15

#: What may be granted on something that is not a directory.
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

#: TCP bind and connect (version 4); abstract Unix sockets and signals across the sandbox's border (version 6).
_NET_RIGHTS = 0b11
_SCOPES = 0b11


class Access(enum.Enum):
    """What a rule allows beneath its path."""

    READ = _READ_FILE | _READ_DIR
    RUN = _READ_FILE | _READ_DIR | _EXECUTE
    DEVICE = _READ_FILE | _READ_DIR | _WRITE_FILE | _IOCTL_DEV
    WRITE = (
        _READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER
    )


@dataclass(frozen=True)
class Rule:
    """Access to a file, or to everything beneath a directory. A path that does not exist grants nothing."""

    path: Path
    access: Access


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The kernel's Landlock version; 0 where it is not built in, not enabled, or hidden by a container."""
    try:
        return syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    except OSError:
        return 0


def file_rights(landlock: int) -> int:
    """All file-system rights that a version knows, as a bit mask."""
    return (1 << (13 + (landlock >= 2) + (landlock >= 3) + (landlock >= 5))) - 1


def restrict(rules: Iterable[Rule], landlock: int) -> None:
    """Confine this thread and everything it starts; needs no_new_privs, and cannot be undone.

    Call before other threads exist: they would stay free. Raises OSError.
    """
    handled = file_rights(landlock)
    attributes = _RulesetAttributes(fs=handled, net=_NET_RIGHTS, scoped=_SCOPES)
    size = 8 if landlock < 4 else 16 if landlock < 6 else 24
    ruleset = syscall(_CREATE_RULESET, ctypes.byref(attributes), size, 0)
    try:
        for rule in rules:
            _add(ruleset, rule, handled)
        syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _add(ruleset: int, rule: Rule, handled: int) -> None:
    try:
        beneath = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        rights = rule.access.value & handled
        if not stat.S_ISDIR(os.fstat(beneath).st_mode):
            rights &= _FILE_RIGHTS
        attributes = _PathBeneath(allowed=rights, parent=beneath)
        syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(attributes), 0)
    finally:
        os.close(beneath)
