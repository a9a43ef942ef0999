"""The image cache and its keys."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from kaas.graph import Source
from kaas_pool.compiler.images import ImageCache, image_key
from kaas_pool.compiler.messages import CompiledSource, Target, Unit

UNIT = Unit(Source("saxpy.cu", defines=(("N", "4"),)), ("saxpy",))
TARGET = Target("cuda", (9, 0))
FILES = {"saxpy.cu": "aa", "lib/util.h": "bb"}
KEY = image_key(FILES, UNIT, TARGET, "nvrtc 12.9")


def compiled(image: bytes = b"\x7fELF\n\0image") -> CompiledSource:
    return CompiledSource(UNIT, image, {"saxpy": {"symbol": "saxpy"}}, "a warning", 0.5)


def test_an_image_is_found_again_as_it_was_kept(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "images")
    assert cache.find(KEY, UNIT) is None
    cache.keep(KEY, compiled())
    assert cache.find(KEY, UNIT) == replace(compiled(), cached=True)
    assert (tmp_path / "images").stat().st_mode & 0o777 == 0o700
    assert len(list((tmp_path / "images").iterdir())) == 1, "nothing is left beside it"


@pytest.mark.parametrize("damage", [b"", b"no json\nimage", b'{"sha256": "00"}\nimage'])
def test_a_damaged_file_is_a_miss(tmp_path: Path, damage: bytes) -> None:
    cache = ImageCache(tmp_path)
    cache.keep(KEY, compiled())
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)
    assert cache.find(KEY, UNIT) is None
    cache.keep(KEY, compiled())
    assert cache.find(KEY, UNIT) is not None


def test_a_cut_image_is_a_miss(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    cache.keep(KEY, compiled())
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.find(KEY, UNIT) is None


def test_a_disk_that_takes_nothing_costs_only_the_cache(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    ImageCache(blocked / "images").keep(KEY, compiled())
    assert ImageCache(blocked / "images").find(KEY, UNIT) is None


def test_writers_and_readers_at_once_see_whole_images(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    contents = [bytes([number]) * 100_000 for number in range(4)]
    seen: list[bytes] = []

    def work(image: bytes) -> None:
        for _ in range(20):
            cache.keep(KEY, compiled(image))
            found = cache.find(KEY, UNIT)
            if found is not None:
                seen.append(found.image)

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 80
    assert set(seen) <= set(contents)


def test_the_key_depends_on_everything_that_goes_in() -> None:
    source = UNIT.source
    others = [
        image_key({**FILES, "lib/util.h": "cc"}, UNIT, TARGET, "nvrtc 12.9"),
        image_key({**FILES, "new.h": "cc"}, UNIT, TARGET, "nvrtc 12.9"),
        image_key(FILES, replace(UNIT, kernels=("saxpy", "other")), TARGET, "nvrtc 12.9"),
        image_key(FILES, replace(UNIT, source=replace(source, defines=(("N", "5"),))), TARGET, "nvrtc 12.9"),
        image_key(FILES, replace(UNIT, source=replace(source, text="int x;")), TARGET, "nvrtc 12.9"),
        image_key(FILES, replace(UNIT, source=replace(source, first_line=9)), TARGET, "nvrtc 12.9"),
        image_key(FILES, replace(UNIT, source=replace(source, path="b.cu")), TARGET, "nvrtc 12.9"),
        image_key(FILES, UNIT, replace(TARGET, compute_capability=(8, 0)), "nvrtc 12.9"),
        image_key(FILES, UNIT, replace(TARGET, device="emulated"), "nvrtc 12.9"),
        image_key(FILES, UNIT, TARGET, "nvrtc 13.0"),
    ]
    assert len({KEY, *others}) == len(others) + 1
    assert image_key(dict(reversed(FILES.items())), UNIT, TARGET, "nvrtc 12.9") == KEY


def test_an_image_is_handed_on_sealed() -> None:
    descriptor = compiled(b"image").open_image()
    try:
        assert os.pread(descriptor, 10, 0) == b"image"
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"x", 0)
    finally:
        os.close(descriptor)
