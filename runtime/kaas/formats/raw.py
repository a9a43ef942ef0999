"""Raw data: the object is the array's bytes, little-endian and in C order, and says nothing about itself."""

from __future__ import annotations

from kaas.dtypes import DType
from kaas.formats._layout import Layout

NAME = "raw"
SUFFIXES: tuple[str, ...] = ()
HEAD_BYTES = 0

#: Endings that say raw data themselves. What has another one is read so too, and that is remarked on.
ENDINGS = ("bin", "dat", "pcm", "raw")


def advice(name: str) -> str:
    """What to know of `name`, the last part of a key, where raw data may not be what was meant."""
    return f"{name} is read as raw bytes, since its name ends in neither .npy nor .safetensors; numpy.save writes .npy"


def read_layout(head: bytes, size: int, label: str, where: str) -> Layout:
    """The whole object is data."""
    return Layout(None, None, 0, size)


def make_header(dtype: DType, shape: tuple[int, ...]) -> bytes:
    """There is none."""
    return b""
