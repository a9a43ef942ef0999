"""An emulated CUDA driver: libcuda.so.1 on a CPU, for development and tests without a GPU.

It proves correctness, errors, order and counts; it is not a performance model.
"""

from __future__ import annotations

from kaas_emulator.errors import CompileFailed, EmulatorError
from kaas_emulator.library import activate, build, library_path
from kaas_emulator.settings import checked

__all__ = ["CompileFailed", "EmulatorError", "activate", "build", "checked", "library_path"]
