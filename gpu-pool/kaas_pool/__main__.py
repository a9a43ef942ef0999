"""`python -m kaas_pool`: the GPU pool of one node."""

from __future__ import annotations

import os
import shutil
import sys

import kaas_emulator
from kaas.errors import KaasError, PlatformError
from kaas_pool.sandbox import describe
from kaas_pool.supervisor.config import PoolConfig, parse_arguments
from kaas_pool.supervisor.lock import AlreadyRunning, lock_state
from kaas_pool.supervisor.service import Supervisor, print_line


def main() -> int:
    """Run the pool; 1 where it cannot run here, 2 where its settings or files are unusable."""
    config = parse_arguments(sys.argv[1:])
    try:
        lock = lock_state(config.state, config.run)
    except (AlreadyRunning, OSError) as refused:
        sys.stderr.write(f"kaas-pool: {refused}\n")
        return 1
    try:
        return _serve(config)
    except KaasError as error:
        sys.stderr.write(f"kaas-pool: {error}\n")
        return 1
    finally:
        os.close(lock)


def _serve(config: PoolConfig) -> int:
    # Away from wherever it was started: children inherit it.
    os.chdir("/")
    for left in config.run.glob("*-*"):
        # Scratch folders of workers whose supervisor was killed.
        shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
    if config.device == "emulated":
        try:
            kaas_emulator.build()
        except kaas_emulator.EmulatorError as missing:
            raise PlatformError("toolchain_missing", str(missing)) from missing
    walls = describe(config.device)
    if not walls.holds_files and not config.allow_unsandboxed:
        raise PlatformError(
            "sandbox_unavailable",
            "neither Landlock nor bubblewrap can be had here, so no CUDA source could run",
            hint="--allow-unsandboxed runs them unconfined, for sources that you trust",
        )
    return Supervisor(config, walls, print_line).run()


if __name__ == "__main__":
    sys.exit(main())
