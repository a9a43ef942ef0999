"""Slots: how many jobs each device runs, and which trust domains have an executor where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class _Device:
    order: int
    up: bool = True
    #: Jobs that hold a slot here, with their domains.
    holders: dict[str, str] = field(default_factory=dict)
    #: Domains whose executor serves here.
    executors: set[str] = field(default_factory=set)


class Slots:
    """Each device has the same number of slots; a slot belongs to whichever domain's job took it.

    Domains never share an executor, so jobs of one domain on a device overlap inside one process, and jobs of several
    domains take turns between processes: both count against the same slots.
    """

    def __init__(self, devices: Sequence[str], slots: int) -> None:
        if slots < 1 or not devices or len(set(devices)) != len(devices):
            raise ValueError("a pool needs different devices with at least one slot each")
        self._slots = slots
        self._devices = {device: _Device(order) for order, device in enumerate(devices)}
        self._held: dict[str, str] = {}

    @property
    def devices(self) -> tuple[str, ...]:
        """All devices, up or down."""
        return tuple(self._devices)

    @property
    def total(self) -> int:
        """Slots of all devices together."""
        return self._slots * len(self._devices)

    def busy(self, device: str) -> int:
        """Slots taken on a device."""
        return len(self._devices[device].holders)

    def has_free(self) -> bool:
        """Whether any device would take a job."""
        return any(device.up and len(device.holders) < self._slots for device in self._devices.values())

    def best(self, domain: str) -> str | None:
        """The device for a job of this domain, or None when no slot is free.

        An executor that is there saves seconds, so it counts first; then the emptiest device, then their order.
        """
        free = [
            (domain not in device.executors, len(device.holders), device.order, name)
            for name, device in self._devices.items()
            if device.up and len(device.holders) < self._slots
        ]
        return min(free)[-1] if free else None

    def take(self, name: str, device: str, domain: str) -> None:
        """Give a slot to a job. Raises ValueError when it has one or none is free."""
        place = self._devices[device]
        if name in self._held or len(place.holders) >= self._slots:
            raise ValueError(f"no slot of device {device} for {name}")
        place.holders[name] = domain
        self._held[name] = device

    def free(self, name: str) -> str:
        """Take a job's slot back; returns its device."""
        device = self._held.pop(name)
        del self._devices[device].holders[name]
        return device

    def executor_up(self, device: str, domain: str) -> None:
        """See `Policy.executor_up`."""
        self._devices[device].executors.add(domain)

    def executor_down(self, device: str, domain: str) -> None:
        """See `Policy.executor_down`."""
        self._devices[device].executors.discard(domain)

    def device_up(self, device: str) -> None:
        """See `Policy.device_up`."""
        self._devices[device].up = True

    def device_down(self, device: str) -> None:
        """See `Policy.device_down`."""
        self._devices[device].up = False

    def validate(self) -> None:
        """Assert that both books agree and no device is over its slots."""
        listed = {name: key for key, device in self._devices.items() for name in device.holders}
        assert listed == self._held, (listed, self._held)
        assert all(len(device.holders) <= self._slots for device in self._devices.values())
