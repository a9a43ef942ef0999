"""Local files behind the store interface: stands in for S3 on a machine that has none.

`file:///dir/name` is bucket "" and key "/dir/name". Everything under the allowed roots may be read and written by every
tenant; links are not followed. The ETag changes with every write that this store or `rename` makes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from kaas.errors import CallerError, PlatformError
from kaas_pool.content import ObjectRange
from kaas_pool.mover.cancellation import Cancellation
from kaas_pool.mover.stores.store import ObjectHead, ObjectName

_CHUNK_BYTES = 16 << 20
_ACTIVATION = "user.kaas-activation"


class FileStore:
    """Files under some roots; see ObjectStore."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = [root.resolve(strict=True) for root in roots]
        #: Makes "compare, then rename" one step among this process's writes; there is no such step for others.
        self._writing = threading.Lock()

    def stat(self, name: ObjectName, head_bytes: int, token: Cancellation) -> ObjectHead:
        """Open a file and look at it; see ObjectStore."""
        with self._opened(name) as descriptor:
            found = os.fstat(descriptor)
            return ObjectHead(
                _etag(found), found.st_size, os.pread(descriptor, max(0, head_bytes), 0), _activation(descriptor)
            )

    def read(self, item: ObjectRange, into: memoryview, token: Cancellation) -> None:
        """Read a range of the version that `stat` saw; see ObjectStore."""
        name = ObjectName(item.scheme, item.bucket, item.key, item.version)
        with self._opened(name) as descriptor:
            done = 0
            while done < item.size:
                token.check()
                with into[done : done + _CHUNK_BYTES] as part:
                    count = os.preadv(descriptor, [part], item.offset + done)
                if not count:
                    break
                done += count
            # After the read: a write meanwhile has changed it.
            if _etag(os.fstat(descriptor)) != item.etag:
                raise CallerError(
                    "object_changed",
                    f"{_url(name)}: the file is no longer the version that was found when the invocation was accepted",
                    hint="invoke again to use the new contents",
                )
            if done < item.size:
                raise CallerError(
                    "size_mismatch",
                    f"{_url(name)}: bytes {item.offset} to {item.offset + item.size} are not inside the file",
                    hint="check offset and size of the reference",
                )

    def write(
        self,
        name: ObjectName,
        header: bytes,
        body: memoryview,
        if_match: str | None,
        activation: str,
        token: Cancellation,
    ) -> str:
        """Write a new file beside the old one and rename it; see ObjectStore.

        On a file system without extended attributes the activation is not kept, so a retried in-place write is an
        output_conflict there.
        """
        with self._parent(name, create=True) as (directory, last):
            temporary = f".kaas-{secrets.token_hex(8)}"
            try:
                descriptor = os.open(
                    temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=directory
                )
                try:
                    _write_all(descriptor, (header, body), token)
                    with contextlib.suppress(OSError):
                        os.setxattr(descriptor, _ACTIVATION, activation.encode())
                    os.fsync(descriptor)
                    etag = _etag(os.fstat(descriptor))
                    with self._writing:
                        token.commit()
                        if if_match is not None:
                            kept = self._matches(name, if_match, activation)
                            if kept is not None and kept != if_match:
                                return kept
                        os.rename(temporary, last, src_dir_fd=directory, dst_dir_fd=directory)
                        temporary = ""
                        os.fsync(directory)
                finally:
                    os.close(descriptor)
            finally:
                if temporary:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=directory)
        return etag

    def _matches(self, name: ObjectName, if_match: str, activation: str) -> str | None:
        """The file's ETag if a conditional write may replace it or has made it; else raises output_conflict."""
        with contextlib.suppress(CallerError), self._opened(name) as descriptor:
            etag = _etag(os.fstat(descriptor))
            if etag == if_match or _activation(descriptor) == activation:
                return etag
        raise CallerError(
            "output_conflict",
            f"{_url(name)}: the file is no longer the version {if_match} that was read",
            hint="somebody else wrote it meanwhile; invoke again to start from the new contents",
        )

    @contextlib.contextmanager
    def _opened(self, name: ObjectName) -> Iterator[int]:
        with self._parent(name, create=False) as (directory, last):
            descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise CallerError("object_not_found", f"{_url(name)} is not a file", hint="name a regular file")
                yield descriptor
            finally:
                os.close(descriptor)

    @contextlib.contextmanager
    def _parent(self, name: ObjectName, *, create: bool) -> Iterator[tuple[int, str]]:
        """The file's directory as a descriptor, reached without following links, and its name there."""
        with _translated(name):
            root, parts = self._locate(name)
            descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for part in parts[:-1]:
                    if create:
                        with contextlib.suppress(FileExistsError):
                            os.mkdir(part, dir_fd=descriptor)
                    below = os.open(
                        part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor
                    )
                    os.close(descriptor)
                    descriptor = below
                yield descriptor, parts[-1]
            finally:
                os.close(descriptor)

    def _locate(self, name: ObjectName) -> tuple[Path, tuple[str, ...]]:
        path = PurePosixPath("/" + name.key.lstrip("/"))
        if (
            name.bucket in ("", "localhost")
            and name.version is None
            and ".." not in path.parts
            and "\0" not in name.key
        ):
            for root in self._roots:
                with contextlib.suppress(ValueError):
                    parts = path.relative_to(root).parts
                    if parts:
                        return root, parts
        raise CallerError(
            "object_forbidden",
            f"{_url(name)} is not under a directory that this pool serves",
            hint=f"use file:// with an absolute path under {' or '.join(str(root) for root in self._roots)}",
        )


def _url(name: ObjectName) -> str:
    return f"file://{name.bucket}/{name.key.lstrip('/')}"


def _etag(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"


def _activation(descriptor: int) -> str | None:
    with contextlib.suppress(OSError):
        return os.getxattr(descriptor, _ACTIVATION).decode("utf-8", "replace")
    return None


def _write_all(descriptor: int, buffers: Sequence[bytes | memoryview], token: Cancellation) -> None:
    for buffer in buffers:
        with memoryview(buffer) as view:
            done = 0
            while done < len(view):
                token.check()
                with view[done : done + _CHUNK_BYTES] as part:
                    done += os.write(descriptor, part)


@contextlib.contextmanager
def _translated(name: ObjectName) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
            raise CallerError("object_not_found", f"{_url(name)}: no such file", hint="check the path") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EROFS, errno.ENXIO):
            raise CallerError(
                "object_forbidden",
                f"{_url(name)}: {error.strerror}",
                hint="the pool's user must have the right to it, and no part of the path may be a link",
            ) from error
        raise PlatformError("store_error", f"{_url(name)}: {error.strerror}") from error
