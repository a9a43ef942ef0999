"""Segments: what a receiver of the descriptor can do, and who holds memory."""

from __future__ import annotations

import fcntl
import mmap
import os

import pytest

from kaas_pool.mover.host_tier import PAGE_BYTES
from kaas_pool.mover.segments import Segment


def test_an_input_is_final_once_sealed() -> None:
    segment = Segment("one", 10)
    with segment.writable() as view:
        view[:] = b"0123456789"
    segment.seal_input()
    with segment.readable(10) as view:
        assert bytes(view) == b"0123456789"
    for write in (
        lambda: mmap.mmap(segment.descriptor, PAGE_BYTES, mmap.MAP_SHARED, mmap.PROT_WRITE),
        lambda: os.pwrite(segment.descriptor, b"x", 0),
        lambda: os.ftruncate(segment.descriptor, 1),
        lambda: os.ftruncate(segment.descriptor, 1 << 20),
    ):
        with pytest.raises(PermissionError):
            write()
    segment.close()


def test_a_result_can_be_written_but_not_resized_or_sealed_by_receivers() -> None:
    segment = Segment("two", 10)
    segment.seal_result()
    with mmap.mmap(segment.descriptor, 10) as mapping:
        mapping[:] = b"9876543210"
    with segment.readable(4) as view:
        assert bytes(view) == b"9876"
    with pytest.raises(PermissionError):
        os.ftruncate(segment.descriptor, 0)
    with pytest.raises(PermissionError):
        fcntl.fcntl(segment.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    segment.close()


def test_an_input_serves_again_and_is_still_sealed_for_others() -> None:
    segment = Segment("one", 10)
    with segment.writable() as view:
        view[:] = b"0123456789"
    segment.seal_input()
    inode = os.fstat(segment.descriptor).st_ino
    segment.reuse("two", 4)
    with segment.writable() as view:
        view[:] = b"abcd"
    segment.seal_input()
    assert (segment.name, segment.size, os.fstat(segment.descriptor).st_ino) == ("two", 4, inode)
    with mmap.mmap(segment.descriptor, 4, mmap.MAP_SHARED, mmap.PROT_READ) as mapping:
        assert mapping[:] == b"abcd"
    with pytest.raises(PermissionError):
        mmap.mmap(segment.descriptor, PAGE_BYTES, mmap.MAP_SHARED, mmap.PROT_WRITE)
    segment.close()


def test_more_than_the_segment_cannot_be_read() -> None:
    segment = Segment("three", 10)
    with pytest.raises(ValueError, match="11 bytes of segment three"), segment.readable(11):
        pass
    segment.close()


def test_an_exception_that_holds_a_slice_does_not_hide_itself() -> None:
    segment = Segment("four", 10)

    def fail(view: memoryview) -> None:
        part = view[2:4]
        raise OSError(f"with {len(part)} bytes")

    with pytest.raises(OSError, match="with 2 bytes"), segment.writable() as view:
        fail(view)
    segment.close()


def test_an_empty_segment_has_a_page() -> None:
    segment = Segment("five", 0)
    with segment.writable() as view:
        assert len(view) == 0
    assert os.fstat(segment.descriptor).st_size == PAGE_BYTES
    segment.close()
