"""Bubblewrap in Landlock's place, on a kernel that is told to have none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kaas_pool.sandbox import bubblewrap
from kaas_pool.sandbox.landlock import Access, Rule

pytestmark = pytest.mark.skipif(bubblewrap.executable() is None, reason="no bubblewrap that works here")

#: Hides Landlock from this process and from the children that it spawns.
_WITHOUT_LANDLOCK = """
import json, sys
from kaas_pool import spawn
from kaas_pool.sandbox import landlock
hide = "from kaas_pool.sandbox import landlock; landlock.version = lambda: 0; "
exec(hide)
spawn._LAUNCH = spawn._LAUNCH.replace("from kaas_pool.spawn", hide + "from kaas_pool.spawn")
from kaas.archive import write_archive
from kaas.bundle import Bundle
from kaas.errors import KaasError
from kaas_pool.compiler import Target, compile_bundle
manifest = '''
kaas: 1
name: test
buffers:
  x: {io: inout, dtype: float32, shape: [n]}
graph:
  - {kernel: scale, source: k.cu, threads: [n], block: [32], args: [x]}
'''
source = sys.stdin.read() + 'extern "C" __global__ void scale(float *x) { x[0] *= 2; }'
files = {"kaas.yaml": manifest.encode(), "k.cu": source.encode()}
try:
    (one,) = compile_bundle(Bundle.open(write_archive(files)), Target("emulated"))
except KaasError as error:
    print(json.dumps(error.to_json()))
else:
    print(json.dumps({"bytes": len(one.image)}))
"""


def compile_source(source: str) -> dict[str, object]:
    """Compile a source under bubblewrap: the size of its image, or the error."""
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_LANDLOCK], input=source, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_a_source_is_compiled() -> None:
    assert "bytes" in compile_source("")


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/1/environ", "/proc/self/environ"])
def test_system_files_are_not_there(path: str) -> None:
    answer = compile_source(f'#include "{path}"\n')
    assert answer["code"] == "compile_error"
    assert "root:" not in str(answer)
    assert "HOME=" not in str(answer)


def test_the_paths_of_the_rules_and_no_others_are_bound(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bound")
    outside = tmp_path_factory.mktemp("outside")
    (folder / "file").write_text("seen\n")
    (outside / "file").write_text("secret")
    trees = ("/usr/bin", "/usr/lib", "/usr/lib64", "/lib", "/lib64", "/bin")
    programs = [Rule(Path(path), Access.RUN) for path in trees]
    found = bubblewrap.executable()
    assert found is not None
    script = f"cat {folder}/file; cat {outside}/file; echo more > {folder}/new; ls /proc | grep -c '^[0-9]'"
    command = [
        *bubblewrap.command(found, [*programs, Rule(folder, Access.READ), Rule(Path("/proc/self"), Access.READ)]),
        "/bin/sh",
        "-c",
        script,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "seen" in done.stdout
    assert "secret" not in done.stdout
    assert not (folder / "new").exists()
    assert int(done.stdout.split()[-1]) < 10, "other processes are not there"
