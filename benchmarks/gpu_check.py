"""Check a machine with an NVIDIA driver: stages in processes of their own, each written down as soon as it ends.

Standard library only: it makes the environment that the stages run in. A stage that fails is recorded and the next one
runs. Every stage prints one line of JSON; all of them are in benchmarks/results/gpu-check-DEVICE-DATE.json, which is
rewritten after each. `--device emulated` tries the script itself and writes no file, because an emulated device's
figures are nobody's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
HOME = ROOT / ".cache" / "gpu-check"
PYTHON = HOME / "venv" / "bin" / "python"
SOURCES = ("runtime", "gpu-pool", "cuda-emulator", "cli")

#: The whole check, in seconds; a stage gets what is left of it, at most its own limit.
BUDGET = 480

#: What the stages import. cuda-bindings and NVRTC are the machine's own, or come from the index.
NEEDS = (
    *("numpy", "pydantic", "PyYAML", "urllib3", "mako", "platformdirs", "pytools"),
    *("pytest", "pytest-timeout", "hypothesis"),
    *("cuda-bindings>=12.9", "nvidia-cuda-nvrtc-cu12>=12.9,<13", "nvidia-cuda-runtime-cu12>=12.9,<13"),
)

TAIL = 4000


@dataclass(frozen=True)
class Stage:
    """A part of the check and its time limit in seconds."""

    name: str
    seconds: int
    needs_pycuda: bool = True


STAGES = (
    Stage("machine", 30, needs_pycuda=False),
    Stage("packages", 90, needs_pycuda=False),
    Stage("pycuda", 300, needs_pycuda=False),
    Stage("contexts", 60),
    Stage("walls", 60),
    Stage("contract", 180),
    Stage("examples", 90),
    Stage("timing", 60),
)


class Check:
    """One run of the check."""

    def __init__(self, device: str, wheels: Path | None, python: Path | None) -> None:
        self.device = device
        self.wheels = wheels
        #: An interpreter that has everything already, in place of an environment made here.
        self.python = python
        self.begun = time.monotonic()
        self.record: dict[str, Any] = {
            "date": date.today().isoformat(),
            "command": " ".join(["python", *sys.argv]),
            "stages": {},
        }

    def run(self) -> int:
        """All stages; 1 if any failed."""
        for stage in STAGES:
            if self.python is not None and stage.name in ("packages", "pycuda"):
                continue
            left = BUDGET - (time.monotonic() - self.begun)
            began = time.monotonic()
            if stage.needs_pycuda and not self.record["stages"].get("pycuda", {"ok": True})["ok"]:
                result = _failed("there is no PyCUDA")
            elif left < 5:
                result = _failed("no time was left for it")
            else:
                result = self._stage(stage, min(stage.seconds, left))
            result["seconds"] = round(time.monotonic() - began, 1)
            self.record["stages"][stage.name] = result
            print(json.dumps({"stage": stage.name, **result}), flush=True)
            self._write()
        return 0 if all(result["ok"] for result in self.record["stages"].values()) else 1

    def _stage(self, stage: Stage, seconds: float) -> dict[str, Any]:
        try:
            if stage.name == "machine":
                return {"ok": True, **machine()}
            if stage.name == "packages":
                return self._packages(seconds)
            if stage.name == "pycuda":
                return self._pycuda(seconds)
            return self._in_environment(stage.name, seconds)
        except Exception as error:
            return _failed(f"{type(error).__name__}: {error}")

    def _packages(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        if not PYTHON.exists():
            shutil.rmtree(PYTHON.parent.parent, ignore_errors=True)
            made = run([sys.executable, "-m", "venv", "--system-site-packages", PYTHON.parent.parent], seconds)
            if made.returncode:
                return _failed(made.output)
        site = next((PYTHON.parent.parent / "lib").glob("python3*/site-packages"))
        (site / "kaas-sources.pth").write_text("".join(f"{ROOT / folder}\n" for folder in SOURCES))
        failures = {}
        for need in NEEDS:
            # One by one: what the machine has already is kept, and what is missing does not take the rest with it.
            left = max(1.0, deadline - time.monotonic())
            done = run([PYTHON, "-m", "pip", "install", "--quiet", need], left, self._pip_environment())
            if done.returncode:
                failures[need] = done.output[-300:]
        listed = run([PYTHON, "-m", "pip", "list", "--format", "freeze", "--disable-pip-version-check"], 30)
        wanted = re.compile(r"(?i)(numpy|pydantic|pytest|hypothesis|cuda|nvidia|cupy|torch|pytools|mako)[\w.-]*==")
        versions = [line for line in listed.output.splitlines() if wanted.match(line)]
        # What a machine's own toolkit may well have in another form is no failure of this stage.
        needed = {need: why for need, why in failures.items() if not need.startswith(("cuda", "nvidia"))}
        return {"ok": not needed, "versions": versions, "not_installed": failures}

    def _pycuda(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        environment = self._pip_environment()
        built = run([PYTHON, ROOT / "scripts" / "pycuda_wheel.py"], seconds, environment, merge=False)
        how = "with CUDA 12.4's headers from wheels"
        wheel = Path(built.output.strip().splitlines()[-1]) if built.returncode == 0 else None
        if wheel is None:
            if built.timed_out:
                return _failed(f"its build took too long: {built.errors}")
            how = f"with the machine's own toolkit ({built.errors[-300:]})"
            command = [
                PYTHON,
                "-m",
                "pip",
                "wheel",
                "--quiet",
                "--no-deps",
                "--no-build-isolation",
                "-w",
                HOME,
                "pycuda",
            ]
            built = run(command, deadline - time.monotonic(), environment)
            if built.returncode:
                return _failed(f"{how}\n{built.output}")
            wheel = max(HOME.glob("pycuda-*.whl"), key=lambda path: path.stat().st_mtime)
        command = [PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--force-reinstall", wheel]
        installed = run(command, 60)
        if installed.returncode:
            return _failed(installed.output)
        return {"ok": True, "built": how, "wheel": wheel.name, "bytes": wheel.stat().st_size}

    def _in_environment(self, name: str, seconds: float) -> dict[str, Any]:
        command = [self.python or PYTHON, ROOT / "benchmarks" / "gpu_stages.py", name, self.device]
        done = run(command, seconds, dict(os.environ), merge=False)
        lines = [line for line in done.output.splitlines() if line.startswith("{")]
        result: dict[str, Any] = json.loads(lines[-1]) if lines else {"ok": False}
        if done.returncode != 0 or not lines:
            why = "it took too long" if done.timed_out else f"status {done.returncode}"
            result |= {"ok": False, "error": f"{why}: {(done.errors or done.output)[-TAIL:]}"}
        return result

    def _pip_environment(self) -> dict[str, str]:
        environment = dict(os.environ) | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
        if self.wheels is not None:
            environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels.resolve())}
        return environment

    def _write(self) -> None:
        if self.device == "emulated":
            return
        name = self.record["stages"]["machine"].get("device") or "unknown"
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"gpu-check-{slug}-{self.record['date']}.json"
        path.write_text(json.dumps(self.record, indent=1) + "\n")


@dataclass(frozen=True)
class Done:
    """What became of a command. `output` has both streams if they were merged, else `errors` has the second."""

    returncode: int
    output: str
    errors: str
    timed_out: bool


def run(command: list[Any], seconds: float, environment: dict[str, str] | None = None, *, merge: bool = True) -> Done:
    """Run a command in a process group of its own, which is killed when the time is over."""
    process = subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merge else subprocess.PIPE,
        env=environment,
        cwd=ROOT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    timed_out = False
    try:
        output, errors = process.communicate(timeout=max(1.0, seconds))
    except subprocess.TimeoutExpired:
        timed_out = True
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
    return Done(process.returncode, output, errors or "", timed_out)


def machine() -> dict[str, Any]:
    """Driver, device and tools, without loading anything of CUDA's."""
    query = "name,driver_version,memory.total,compute_cap,pcie.link.gen.max,pcie.link.width.max"
    query += ",persistence_mode,mig.mode.current"
    found: dict[str, Any] = {"python": sys.version.split()[0], "cores": os.cpu_count()}
    version = Path("/proc/driver/nvidia/version")
    found["kernel_module"] = version.read_text().splitlines()[0].strip() if version.exists() else None
    if shutil.which("nvidia-smi"):
        asked = run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], 20)
        if asked.returncode == 0:
            values = [part.strip() for part in asked.output.splitlines()[0].split(",")]
            found |= dict(zip(query.split(","), values, strict=False))
            found["devices"] = len(asked.output.splitlines())
    found["device"] = found.get("name")
    for tool, flag in (("nvcc", "--version"), ("g++", "--version"), ("bwrap", "--version")):
        path = shutil.which(tool)
        found[tool] = run([path, flag], 20).output.strip().splitlines()[-1 if tool == "nvcc" else 0] if path else None
    return found


def _failed(why: str) -> dict[str, Any]:
    return {"ok": False, "error": why[-TAIL:]}


def main() -> int:
    parser = argparse.ArgumentParser(description="Check a machine with an NVIDIA driver.")
    parser.add_argument("--wheels", type=Path, help="a folder of packages, instead of the network")
    parser.add_argument("--device", choices=("cuda", "emulated"), default="cuda", help="emulated: to try this script")
    parser.add_argument("--python", type=Path, help="an interpreter that has all packages; none are installed then")
    given = parser.parse_args()
    return Check(given.device, given.wheels, given.python).run()


if __name__ == "__main__":
    sys.exit(main())
