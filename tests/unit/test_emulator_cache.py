"""What the emulator builds is kept under the name of what it was built from, whoever edits meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kaas_emulator import cache, sources
from kaas_emulator.errors import EmulatorError


class Builder:
    """Builds a copy of one source, which `edits` change one after the other, each while it is being built."""

    def __init__(self, folder: Path, *edits: Callable[[Path], object]) -> None:
        self.folder = folder
        self.source = folder / "driver.cpp"
        self.builds = 0
        self._edits = list(edits)
        folder.mkdir()
        self.source.write_text("first")

    def name(self) -> str:
        return f"emulator/driver-{self.source.read_text()}"

    def build(self, work: Path) -> None:
        self.builds += 1
        if self._edits:
            self._edits.pop(0)(self.source)
        (work / "library").write_text(self.source.read_text())

    def obtain(self) -> Path:
        return cache.obtain(self.name, self.build, [self.folder])


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("KAAS_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "emulator"


def kept(root: Path) -> dict[str, str]:
    return {path.name: (path / "library").read_text() for path in root.iterdir()}


def test_it_is_built_once(root: Path, tmp_path: Path) -> None:
    builder = Builder(tmp_path / "driver")
    assert builder.obtain() == builder.obtain() == root / "driver-first"
    assert builder.builds == 1
    assert kept(root) == {"driver-first": "first"}


def test_an_edit_during_the_build_makes_another(root: Path, tmp_path: Path) -> None:
    builder = Builder(tmp_path / "driver", lambda source: source.write_text("second"))
    assert builder.obtain() == root / "driver-second"
    assert builder.builds == 2
    assert kept(root) == {"driver-second": "second"}


def test_an_edit_that_is_taken_back_during_the_build_is_seen(root: Path, tmp_path: Path) -> None:
    def edit(source: Path) -> None:
        # The clock of a file system ticks only every few milliseconds.
        before = source.stat().st_mtime_ns
        while source.stat().st_mtime_ns == before:
            source.write_text("other")
            source.write_text("first")

    builder = Builder(tmp_path / "driver", edit)
    assert builder.obtain() == root / "driver-first"
    assert builder.builds == 2


def test_a_file_that_comes_during_the_build_is_seen(root: Path, tmp_path: Path) -> None:
    builder = Builder(tmp_path / "driver", lambda source: source.with_name("new.cpp").write_text(""))
    builder.obtain()
    assert builder.builds == 2


def test_sources_that_never_rest_are_an_error(root: Path, tmp_path: Path) -> None:
    builder = Builder(tmp_path / "driver", *[lambda source: source.write_text(f"{source.read_text()}+")] * 9)
    with pytest.raises(EmulatorError, match="try again when they are at rest"):
        builder.obtain()
    assert builder.builds < 9
    assert kept(root) == {}


def test_a_stamp_is_the_same_while_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.h").write_text("a")
    before = sources.stamp([tmp_path])
    (tmp_path / "sub" / "a.h").read_text()
    assert sources.stamp([tmp_path]) == before
