"""What a figure was measured on, and where it is written down."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def describe() -> dict[str, Any]:
    """Processor, cores, memory, kernel and Python of this machine."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Least, median and greatest of the runs."""
    return {
        "min": round(min(values), digits),
        "median": round(statistics.median(values), digits),
        "max": round(max(values), digits),
    }


def record(name: str, machine: dict[str, Any], figures: dict[str, Any]) -> Path:
    """Write benchmarks/results/NAME-DATE.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{date.today().isoformat()}.json"
    command = " ".join(["python", *sys.argv])
    body = {"date": date.today().isoformat(), "command": command, "machine": machine, **figures}
    path.write_text(json.dumps(body, indent=1) + "\n")
    return path
