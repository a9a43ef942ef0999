"""P14 (docs/numbers.md): an invocation through the invoker plugin, and by a plain HTTP client in the same JVM.

Needs Maven and a JDK, as `make test-plugin` does; without them nothing is measured. The figures are host work.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import machine
from null_invocation import percentile, running_pool

ROOT = Path(__file__).parents[1]
MAIN = "org.apache.openwhisk.core.containerpool.kaas.PluginBenchmark"

#: Until the JVM has compiled what is called all the time.
WARM_CALLS = 3000


def main() -> int:
    """Measure, print a table, write the result down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--count", type=int, default=1000, help="calls of each kind per run")
    parser.add_argument("--line", choices=("pekko", "akka"), default="pekko", help="of OpenWhisk")
    options = parser.parse_args()
    if shutil.which("mvn") is None:
        print("the invoker plugin is not measured: there is no mvn")
        return 0
    about = machine.describe()
    token = secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory() as folder, running_pool(Path(folder) / "pool", token) as (port, _):
        secret, result = Path(folder) / "token", Path(folder) / "result.json"
        secret.touch(0o600)
        secret.write_text(token)
        arguments = [ROOT, f"http://127.0.0.1:{port}", secret, result, WARM_CALLS, options.runs, options.count]
        print("Maven builds the plugin; from nothing that takes some minutes", file=sys.stderr, flush=True)
        command = ["mvn", "-B", "-q", "-f", str(ROOT / "invoker-plugin" / "pom.xml"), "-pl", options.line]
        command += ["scala:run", f"-DmainClass={MAIN}", f"-DaddArgs={'|'.join(map(str, arguments))}"]
        built = subprocess.run(command, stdout=sys.stderr)
        if built.returncode != 0:
            return built.returncode
        runs = json.loads(result.read_text())
    figures: dict[str, list[float]] = {}
    for run in runs:
        run["added"] = [ours - plain for ours, plain in zip(run["plugin"], run["plain"], strict=True)]
        for name, milliseconds in run.items():
            for percent in (50, 90):
                value = percentile([one / 1e3 for one in milliseconds], percent)
                figures.setdefault(f"{name}_p{percent}_ms", []).append(value)
    table = {name: machine.spread(values) for name, values in figures.items()}
    for name, values in table.items():
        print(f"{name:<18}{values['min']:>10g}{values['median']:>10g}{values['max']:>10g}")
    path = machine.record("invoker_plugin", about, {"settings": vars(options), "figures": table})
    print(f"(least, median, greatest of {options.runs} runs) -> {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
