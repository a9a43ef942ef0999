"""The device on which this machine runs kernels without a pool."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from kaas_cli.output import Failure
from kaas_emulator.cache import cache_root
from kaas_emulator.settings import CHECKED
from kaas_local.stack import Kind
from kaas_pool.compiler import Target


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """`--device`, with the same meaning for every command that has it."""
    parser.add_argument(
        "--device",
        choices=("auto", "cuda", "emulated"),
        default="auto",
        help="a GPU, or this machine's processor in its place (auto: a GPU if there is a driver)",
    )


def add_unsandboxed_argument(parser: argparse.ArgumentParser) -> None:
    """`--allow-unsandboxed`, likewise."""
    parser.add_argument(
        "--allow-unsandboxed",
        action="store_true",
        help="compile and run without walls where neither Landlock nor bubblewrap can be had: for sources you trust",
    )


def add_checked_argument(parser: argparse.ArgumentParser) -> None:
    """`--checked`, likewise."""
    parser.add_argument(
        "--checked",
        action="store_true",
        help="find accesses outside of buffers, by the byte; what was never written is NaN (emulated device only)",
    )


def turn_checks_on(kind: Kind) -> None:
    """Have this process, and the compilers that it starts, run the emulated device's checked mode. Raises Failure."""
    if kind == "cuda":
        raise Failure(
            "the driver of a GPU cannot check accesses",
            where="--checked",
            hint="run `compute-sanitizer kaas run ...` without it, or add --device emulated",
        )
    os.environ[CHECKED] = "1"


def describe(kind: str) -> str:
    """What the device is, and what it is not."""
    if kind == "cuda":
        return "cuda: this machine's GPU"
    return "emulated: kernels run on this machine's processor; right results, no GPU and none of its speed"


def target(kind: Kind) -> Target:
    """What sources are compiled for on this machine."""
    if kind == "emulated":
        return Target("emulated")
    from kaas_pool.executor.device import Device

    device = Device("cuda", 0)
    try:
        return Target("cuda", device.compute_capability)
    finally:
        device.close()


def images() -> Path:
    """Where compiled sources are kept between commands."""
    return cache_root() / "images"
