"""One place where the CUDA driver's errors become ours."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kaas.errors import CallerError, KaasError, PlatformError

#: Error codes after which the context is lost, as cuda.h documents them ("the process must be terminated and
#: relaunched"), with what a kernel did to cause them.
FATAL: Mapping[int, str] = {
    700: "read or wrote an address outside its buffers",
    702: "ran longer than the driver allows",
    710: "failed an assertion",
    714: "overflowed or corrupted the stack in device code",
    715: "executed an illegal instruction",
    716: "used an address that is not aligned to its element type",
    717: "used an address of the wrong address space",
    718: "jumped to an illegal address",
    719: "trapped or failed in a way that the driver does not name",
}
_BOUNDS = "check its bounds against the buffers' shapes; threads are rounded up to whole blocks"
#: What to look at, where it is not the bounds.
HINTS: Mapping[int, str] = {
    702: "look for a loop that does not end",
    710: "the kernel's own assertion says what it expects of its input",
    714: "look for a recursion that does not end, or large local arrays",
    716: "an address and the offset of a view must be multiples of the size of what is read or written there",
    719: "look for __trap(), an integer division by zero, and barriers or warp functions that not all threads reach",
}
OUT_OF_MEMORY = 2
#: What the driver answers to a launch that this kernel or this device cannot do.
INVALID_VALUE = 1
TOO_MANY_RESOURCES = 701
#: ECC errors, a lost device, an unusable driver: nobody's kernel did it, and nothing works afterwards.
DEVICE_LOST = (214, 220, 221, 226, 709, 999)
_KNOWN = (*FATAL, OUT_OF_MEMORY, INVALID_VALUE, TOO_MANY_RESOURCES, *DEVICE_LOST)


@dataclass(frozen=True)
class Failure:
    """An error and whether the context went with it."""

    error: KaasError
    fatal: bool


def last_fault(library: ctypes.CDLL) -> str:
    """What the emulated driver can tell of the current context's first error: kernel, line, what happened, thread.

    Empty where nothing went wrong, and always with a real driver, which knows no more than its code.
    """
    if not hasattr(library, "kaas_emulator_last_fault"):
        return ""
    text = ctypes.create_string_buffer(2000)
    library.kaas_emulator_last_fault(text, ctypes.c_size_t(len(text)))
    return text.value.decode(errors="replace")


class DriverErrors:
    """Tells the driver's errors apart by its own texts, because PyCUDA's exceptions carry no code.

    `last_fault` answers what else is known of a fault, or nothing.
    """

    def __init__(self, text_of: Callable[[int], str], last_fault: Callable[[], str] = str) -> None:
        self._last_fault = last_fault
        self._codes = {text: code for code in _KNOWN if (text := text_of(code))}

    def code(self, error: BaseException) -> int | None:
        """The driver's code; None for what is in no list above."""
        # PyCUDA writes "cuMemAlloc failed: out of memory" and, for some calls, " - " and a detail.
        text = str(error).partition(" failed: ")[2]
        return self._codes.get(text, self._codes.get(text.partition(" - ")[0]))

    def translate(self, error: BaseException, *, launching: str | None = None) -> Failure:
        """The error to report; `launching` is where the launch stands that the driver has just refused, if one."""
        code = self.code(error)
        if code is None:
            return Failure(PlatformError("internal", f"the CUDA driver: {error}", where=launching), fatal=False)
        if code in FATAL:
            told = self._last_fault() or f"a kernel {FATAL[code]}"
            hint = HINTS.get(code, _BOUNDS)
            return Failure(CallerError("kernel_fault", f"{told} (CUDA error {code})", hint=hint), fatal=True)
        if code in DEVICE_LOST:
            told = self._last_fault() or str(error)
            return Failure(PlatformError("device_unavailable", f"the device failed: {told} ({code})"), fatal=True)
        if code == OUT_OF_MEMORY:
            return Failure(CallerError("device_out_of_memory", f"the device has no memory left: {error}"), fatal=False)
        if launching is not None:
            return Failure(
                CallerError(
                    "launch_invalid",
                    f"the device refuses the launch: {error}",
                    where=launching,
                    hint="the kernel's registers, shared memory or launch bound allow only smaller blocks",
                ),
                fatal=False,
            )
        return Failure(PlatformError("internal", f"the CUDA driver: {error}"), fatal=False)
