"""What the environment says about compiling; the driver reads the rest (driver/settings.h)."""

from __future__ import annotations

import os

from kaas_emulator.errors import EmulatorError

#: The variable that turns the checked mode on, for the driver as well.
CHECKED = "KAAS_EMULATOR_CHECKED"


def checked() -> bool:
    """Whether kernels are compiled so that their accesses to device memory are checked. Raises EmulatorError."""
    text = os.environ.get(CHECKED, "")
    if text not in {"", "0", "1"}:
        raise EmulatorError(f'{CHECKED} is "{text}"; it must be 0 or 1')
    return text == "1"
