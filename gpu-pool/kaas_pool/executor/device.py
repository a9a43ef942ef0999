"""The CUDA layer of an executor: PyCUDA on a real device or on the emulated driver. One thread makes all calls.

Methods raise PyCUDA's own errors (`Device.driver_error`); `Device.failure` turns one into ours.
"""

from __future__ import annotations

import ctypes
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import kaas_emulator
from kaas.errors import PlatformError
from kaas_pool.executor.driver_errors import OUT_OF_MEMORY, DriverErrors, Failure, last_fault
from kaas_pool.executor.host import Bytes, Mapped
from kaas_pool.executor.memory import DeviceMemory
from kaas_pool.limits import Limits

DeviceKind = Literal["cuda", "emulated"]

#: From this size on a copy is worth page-locking the host's side, which the device then reads and writes by itself:
#: locking costs about as much as the driver's own way through a buffer up to some 100 KiB. To be measured on hardware.
#: On the emulated device nothing is faster for it, and unlocking waits for whatever runs there.
PAGE_LOCK_BYTES: Mapping[DeviceKind, float] = {"cuda": 1 << 20, "emulated": math.inf}

#: What the emulated device's checked mode fills fresh memory with (docs/emulator.md): NaN, or -1.
_POISON = 0xFF

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: no implicit order with the default stream.
_HOST_REGISTER_READ_ONLY = 8  # CU_MEMHOSTREGISTER_READ_ONLY


def import_driver(kind: DeviceKind) -> Any:
    """Import `pycuda.driver` for `kind`, without initialising it; the first call decides for the whole process.

    A `cuda` process never gets the emulated driver: it is activated for `emulated` alone. Raises
    `device_unavailable` where there is no driver, `toolchain_missing` where the emulated one cannot be built.
    """
    if kind == "emulated":
        try:
            kaas_emulator.activate()
        except kaas_emulator.EmulatorError as error:
            raise PlatformError("toolchain_missing", str(error)) from error
    try:
        return importlib.import_module("pycuda.driver")
    except ImportError as error:
        raise PlatformError(
            "device_unavailable",
            f"the CUDA driver cannot be loaded: {error}",
            hint="install NVIDIA's driver, or choose the emulated device",
        ) from error


class Slot:
    """The streams of one computing invocation at a time; those after the first are made when they are needed."""

    def __init__(self, make_stream: Callable[[], Any]) -> None:
        self._make_stream = make_stream
        self.stream: Any = make_stream()
        self._lanes = [self.stream]

    def lanes(self, count: int) -> Sequence[Any]:
        """`count` streams; the first is `stream`."""
        while len(self._lanes) < count:
            self._lanes.append(self._make_stream())
        return self._lanes[:count]


class Function:
    """A kernel on the device. Sizes are bytes of shared memory per block.

    `launch(grid, block, arguments, shared, stream)` takes the arguments as the bytes of their layout.
    """

    def __init__(
        self, launch: Callable[..., None], *, static_shared: int, allowed_shared: int, allow: Callable[[int], None]
    ) -> None:
        self.launch = launch
        self.static_shared = static_shared
        #: What it may be launched with now.
        self.allowed_shared = allowed_shared
        self._allow = allow

    def allow_shared(self, size: int) -> None:
        """Let it be launched with `size` bytes of dynamic shared memory. Raises the driver's error."""
        self._allow(size)
        self.allowed_shared = size


class Device:
    """One device's context, streams and memory, from construction to `close`.

    Raises `device_unavailable` where there is no such device.
    """

    def __init__(self, kind: DeviceKind, index: int, slots: int = 1) -> None:
        self._cuda = import_driver(kind)
        pools = importlib.import_module("pycuda.tools")
        self.kind = kind
        self.index = index
        self.driver_error: type[Exception] = self._cuda.Error
        self._library = ctypes.CDLL("libcuda.so.1")
        self._errors = DriverErrors(lambda code: _error_text(self._library, code), lambda: last_fault(self._library))
        try:
            self._cuda.init()
            device = self._cuda.Device(index)
        except self.driver_error as error:
            raise PlatformError("device_unavailable", f"there is no {kind} device {index}: {error}") from error
        self.name: str = device.name()
        self.compute_capability: tuple[int, int] = device.compute_capability()
        #: Whether the device knows every buffer's end, and what is in a buffer that nothing was written to.
        self.checked = kind == "emulated" and kaas_emulator.checked()
        self.limits = _limits(self._cuda, device, apart=self.checked)
        self.total_bytes: int = device.total_memory()
        self._context = device.make_context()
        try:
            self.copy_in_stream = self._cuda.Stream(_NON_BLOCKING)
            self.copy_out_stream = self._cuda.Stream(_NON_BLOCKING)
            self.slots = [Slot(lambda: self._cuda.Stream(_NON_BLOCKING)) for _ in range(slots)]
            self.memory = DeviceMemory(self._cuda.mem_alloc, exact=self.checked)
            self._staging = pools.PageLockedMemoryPool()
            self._events: list[Any] = []
            attribute = self._cuda.device_attribute.READ_ONLY_HOST_REGISTER_SUPPORTED
            self._locks_read_only = bool(device.get_attribute(attribute))
            self.page_lock_bytes = PAGE_LOCK_BYTES[kind]
        except BaseException:
            self._context.pop()
            raise

    def close(self) -> None:
        """Give the memory back and leave the context; nothing may be under way."""
        try:
            self._events.clear()
            self._staging.stop_holding()
            self.memory.trim(0)
        finally:
            # PyCUDA aborts the process if it exits with a context pushed.
            self._context.pop()

    def failure(self, error: BaseException, *, launching: str | None = None) -> Failure:
        """Turn the driver's error into ours."""
        return self._errors.translate(error, launching=launching)

    # ***** memory *****

    def free_bytes(self) -> int:
        """What the driver says is free."""
        free: int = self._cuda.mem_get_info()[0]
        return free

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether the driver had no memory left, which evicting may cure."""
        return self._errors.code(error) == OUT_OF_MEMORY

    def name_buffer(self, address: int, name: str) -> None:
        """Have a device that checks call what lies there by this name in its messages."""
        self._library.kaas_emulator_name(ctypes.c_uint64(address), name.encode())

    def staging(self, size: int) -> Bytes:
        """Page-locked host memory of `size` bytes, reused once nobody refers to it."""
        array: Bytes = self._staging.allocate((max(size, 1),), "uint8")
        return array[:size]

    def page_lock(self, mapped: Mapped) -> None:
        """Page-lock a mapping where that pays and is possible."""
        if mapped.size < self.page_lock_bytes or not (mapped.writable or self._locks_read_only):
            return
        flags = 0 if mapped.writable else _HOST_REGISTER_READ_ONLY
        address = ctypes.c_void_p(mapped.pages.ctypes.data)
        # Not by PyCUDA: its `register_host_memory` (2026.1) frees an object that it still uses, with NumPy 2.
        # What cannot be locked (a limit on locked memory) goes through the driver's own buffers: slower, no error.
        if self._library.cuMemHostRegister_v2(address, ctypes.c_size_t(mapped.pages.nbytes), flags) == 0:
            mapped.locked(lambda: self._library.cuMemHostUnregister(address))

    # ***** copies and events *****

    def copy_in(self, address: int, data: Bytes | bytes, stream: Any) -> None:
        """Host to device; `data` must stay until an event says so."""
        if len(data):
            self._cuda.memcpy_htod_async(address, data, stream)

    def copy_out(self, data: Bytes, address: int, stream: Any) -> None:
        """Device to host."""
        if len(data):
            self._cuda.memcpy_dtoh_async(data, address, stream)

    def copy(self, target: int, source: int, size: int, stream: Any) -> None:
        """Device to device."""
        if size:
            self._cuda.memcpy_dtod_async(target, source, size, stream)

    def clear(self, address: int, size: int, stream: Any) -> None:
        """Zero `size` bytes."""
        if size:
            self._cuda.memset_d8_async(address, 0, size, stream)

    def poison(self, address: int, size: int, stream: Any) -> None:
        """Make `size` bytes what they are in fresh memory of a device that checks."""
        if size:
            self._cuda.memset_d8_async(address, _POISON, size, stream)

    def fill(self, address: int, pattern: bytes, size: int, stream: Any) -> None:
        """Repeat `pattern` (1, 2, 4, 8 or 16 bytes) over `size` bytes, a multiple of its length."""
        width = len(pattern)
        if pattern == pattern[:1] * width:
            self._cuda.memset_d8_async(address, pattern[0], size, stream)
        elif width == 2:
            self._cuda.memset_d16_async(address, int.from_bytes(pattern, "little"), size // 2, stream)
        elif pattern == pattern[:4] * (width // 4):
            self._cuda.memset_d32_async(address, int.from_bytes(pattern[:4], "little"), size // 4, stream)
        elif size:
            # The driver repeats at most 4 bytes: write one element by words, then double what is there.
            for at in range(0, width, 4):
                self._cuda.memset_d32_async(address + at, int.from_bytes(pattern[at : at + 4], "little"), 1, stream)
            done = width
            while done < size:
                part = min(done, size - done)
                self._cuda.memcpy_dtod_async(address + done, address, part, stream)
                done += part

    def record(self, stream: Any) -> Any:
        """An event at the stream's present end; give it back with `recycle` when it has been seen done."""
        event = self.event()
        event.record(stream)
        return event

    def event(self) -> Any:
        """An event that has not been recorded yet; give it back with `recycle`."""
        return self._events.pop() if self._events else self._cuda.Event()

    def wait(self, stream: Any) -> None:
        """Wait for all that is on a stream; meant for one that is done, because the driver writes what kernels printed
        when somebody waits."""
        stream.synchronize()

    def recycle(self, *events: Any) -> None:
        """Reuse events that are done."""
        self._events += events

    # ***** modules *****

    def load_module(self, image: bytes) -> Any:
        """Load a compiled image."""
        return self._cuda.module_from_buffer(image)

    def function(self, module: Any, symbol: str) -> Function:
        """A kernel of a loaded module. Raises the driver's error."""
        function = module.get_function(symbol)
        attributes = self._cuda.function_attribute
        return Function(
            function._launch_kernel,
            static_shared=function.get_attribute(attributes.SHARED_SIZE_BYTES),
            allowed_shared=function.get_attribute(attributes.MAX_DYNAMIC_SHARED_SIZE_BYTES),
            allow=partial(function.set_attribute, attributes.MAX_DYNAMIC_SHARED_SIZE_BYTES),
        )


def _error_text(library: ctypes.CDLL, code: int) -> str:
    text = ctypes.c_char_p()
    library.cuGetErrorString(code, ctypes.byref(text))
    return text.value.decode() if text.value else ""


def _limits(cuda: Any, device: Any, *, apart: bool) -> Limits:
    names = cuda.device_attribute

    def extent(name: str) -> tuple[int, int, int]:
        x, y, z = (int(device.get_attribute(getattr(names, f"MAX_{name}_DIM_{axis}"))) for axis in "XYZ")
        return x, y, z

    return Limits(
        grid=extent("GRID"),
        block=extent("BLOCK"),
        threads_per_block=int(device.get_attribute(names.MAX_THREADS_PER_BLOCK)),
        shared_bytes=max(
            int(device.get_attribute(names.MAX_SHARED_MEMORY_PER_BLOCK)),
            int(device.get_attribute(names.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)),
        ),
        apart=apart,
    )
