"""What `scripts/build-wsk.sh` says where it cannot build; that it builds, the tests with the real `wsk` show."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from few_tools import few_tools

SCRIPT = Path(__file__).parents[2] / "scripts" / "build-wsk.sh"

#: Compiles nothing.
GO = "go=case $1 in version) echo go version go1.26.1 linux/amd64;; build) exit 1;; esac"
#: Fetches a folder that is as good as empty.
GIT = 'git=[ "$1" != init ] || mkdir -p "$3/wski18n"'
CLONES = "WSK_CLIENT_SOURCE name clones of apache/openwhisk-cli and apache/openwhisk-client-go"


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ([GO], "there is no git"),
        (["git"], "there is no go, which compiles wsk: install Go 1.18 or newer"),
        (["git", "go=echo go version go1.17.13 linux/amd64"], "wsk needs Go 1.18 or newer, and this is go1.17"),
        (["git", GO], CLONES),
        ([GIT, GO], CLONES),
    ],
    ids=["no git", "no go", "an old go", "no sources", "no modules"],
)
def test_what_lacks_is_said_in_the_last_line(tmp_path: Path, tools: list[str], said: str) -> None:
    few_tools(tmp_path / "bin", *tools, "bash", "cat", "chmod", "mkdir", "mktemp", "rm")
    done = subprocess.run(
        [tmp_path / "bin" / "bash", SCRIPT],
        env={
            "PATH": str(tmp_path / "bin"),
            "HOME": str(tmp_path),
            "KAAS_CACHE_DIR": str(tmp_path / "cache"),
            "WSK_SOURCE": str(tmp_path / "none"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    line = done.stderr.splitlines()[-1]
    assert line.startswith("build-wsk.sh: ") and said in line, done.stderr
    assert not (tmp_path / "cache").exists()
