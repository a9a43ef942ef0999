"""Device memory by exact size: what is used is what was asked for, and held blocks go before the budget breaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaas_pool.executor.memory import Allocation, DeviceMemory, charge


class FullError(Exception):
    """What this small device raises."""


class Block:
    def __init__(self, device: SmallDevice, address: int, size: int) -> None:
        self.device, self.address, self.size = device, address, size

    def __int__(self) -> int:
        return self.address

    def free(self) -> None:
        self.device.taken -= self.size
        self.device.frees += 1


class SmallDevice:
    """Hands out addresses until its bytes are gone."""

    def __init__(self, size: int) -> None:
        self.size, self.taken, self.next, self.allocations, self.frees = size, 0, 1 << 20, 0, 0

    def allocate(self, size: int) -> Block:
        if self.taken + size > self.size:
            raise FullError
        self.taken += size
        self.next += size
        self.allocations += 1
        return Block(self, self.next - size, size)


def test_sizes_are_charged_by_alignment_and_never_zero() -> None:
    assert [charge(size) for size in (0, 1, 256, 257, 1 << 20)] == [256, 256, 256, 512, 1 << 20]


def test_a_freed_block_serves_the_next_request_of_its_size() -> None:
    device = SmallDevice(4096)
    memory = DeviceMemory(device.allocate)
    first = memory.allocate(1000, 4096)
    memory.free(first)
    assert memory.allocate(1024, 4096) is first
    assert device.allocations == 1
    assert (memory.active_bytes, memory.held_bytes) == (1024, 0)


def test_an_exact_device_is_asked_for_no_byte_more_and_charged_the_same() -> None:
    device = SmallDevice(4096)
    memory = DeviceMemory(device.allocate, exact=True)
    first, nothing = memory.allocate(1000, 4096), memory.allocate(0, 4096)
    assert (first.size, nothing.size, device.taken) == (1000, 1, 1001)
    assert memory.active_bytes == 1024 + 256
    memory.free(first)
    other = memory.allocate(1001, 4096)
    assert other is not first
    assert memory.allocate(1000, 4096) is first
    assert (memory.active_bytes, memory.held_bytes) == (2 * 1024 + 256, 0)
    for block in (first, other, nothing):
        memory.free(block)
    memory.trim(0)
    assert (memory.active_bytes, memory.held_bytes, device.taken) == (0, 0, 0)


def test_held_blocks_go_before_the_budget_breaks() -> None:
    device = SmallDevice(1 << 20)
    memory = DeviceMemory(device.allocate)
    memory.free(memory.allocate(1024, 2048))
    memory.allocate(2048, 2048)
    assert device.frees == 1
    assert device.taken == 2048


def test_held_blocks_go_when_the_device_is_full_earlier_than_the_budget() -> None:
    device = SmallDevice(2048)
    memory = DeviceMemory(device.allocate)
    memory.free(memory.allocate(1024, 1 << 20))
    memory.allocate(2048, 1 << 20)
    assert device.taken == 2048


def test_a_full_device_raises_its_own_error_and_counts_nothing() -> None:
    memory = DeviceMemory(SmallDevice(2048).allocate)
    memory.allocate(1024, 1 << 20)
    with pytest.raises(FullError):
        memory.allocate(2048, 1 << 20)
    assert memory.active_bytes == 1024


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3000)), max_size=60))
def test_bytes_are_always_what_the_device_has_given(steps: list[tuple[bool, int]]) -> None:
    budget = 16 << 10
    device = SmallDevice(budget)
    memory = DeviceMemory(device.allocate)
    live: list[Allocation] = []
    for allocates, size in steps:
        if allocates and memory.active_bytes + charge(size) <= budget:
            live.append(memory.allocate(size, budget))
        elif live:
            memory.free(live.pop(size % len(live)))
        assert device.taken == memory.active_bytes + memory.held_bytes <= budget
        assert memory.active_bytes == sum(allocation.size for allocation in live)
        assert len({allocation.address for allocation in live}) == len(live)
    memory.trim(0)
    assert device.taken == memory.active_bytes
