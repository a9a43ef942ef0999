"""What one invocation does to the rest of the pool: which bytes go where. The same for every attempt."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kaas.binding import (
    Binding,
    BoundBuffer,
    BundleFile,
    InlineSource,
    ObjectSource,
    ObjectTarget,
)
from kaas.errors import PlatformError
from kaas_pool.content import ObjectRange, content_key
from kaas_pool.front.host_room import pages

Origin = ObjectRange | BundleFile | bytes


@dataclass(frozen=True)
class Input:
    """Contents that an executor needs on its device, by content key; several buffers may share them."""

    key: str
    size: int
    origin: Origin

    @property
    def is_object(self) -> bool:
        """Whether it comes from the object store, and not out of the call or the bundle."""
        return isinstance(self.origin, ObjectRange)


@dataclass(frozen=True)
class Output:
    """A buffer whose contents are stored as an object."""

    buffer: BoundBuffer
    scheme: str
    bucket: str
    object_key: str
    header: bytes
    #: The version that an in-place output replaces.
    if_match: str | None

    @property
    def reference(self) -> str:
        """Its reference in the result."""
        base = f"s3://{self.bucket}/" if self.scheme == "s3" else f"{self.scheme}://"
        return base + self.object_key

    @property
    def object(self) -> dict[str, str]:
        """The object as the mover's frames name it."""
        return {"scheme": self.scheme, "bucket": self.bucket, "key": self.object_key}

    def cache_key(self, origin: str, etag: str) -> str:
        """The content key of the stored data."""
        size = self.buffer.nbytes
        return content_key(
            origin, ObjectRange(self.scheme, self.bucket, self.object_key, etag, None, len(self.header), size)
        )


@dataclass(frozen=True, eq=False)
class Work:
    """One bound invocation. `run` holds what its `run` frames share; sizes in bytes."""

    digest: str
    run: Mapping[str, Any]
    #: Distinct contents by key.
    inputs: Mapping[str, Input]
    outputs: tuple[Output, ...]
    #: Outputs that come back in the result.
    inline: Mapping[str, BoundBuffer]
    #: The most device memory it pins at once.
    memory: int

    @property
    def in_place(self) -> tuple[Output, ...]:
        """Outputs that replace their own input."""
        return tuple(output for output in self.outputs if output.if_match is not None)

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of each input, by content key."""
        return {one.key: one.size for one in self.inputs.values()}

    @cached_property
    def result_pages(self) -> int:
        """Bytes of the host segments for its stored outputs."""
        return sum(pages(output.buffer.nbytes) for output in self.outputs)

    @cached_property
    def largest_input(self) -> int:
        """Bytes of the host segment for its largest object."""
        return max((pages(one.size) for one in self.inputs.values() if one.is_object), default=0)

    @cached_property
    def inline_bytes(self) -> int:
        """Bytes of the values that came in the call itself."""
        return sum(len(one.origin) for one in self.inputs.values() if isinstance(one.origin, bytes))

    @staticmethod
    def of(digest: str, binding: Binding, memory: int, origin: str) -> Work:
        """The work of a binding that needs `memory` bytes of a device; `origin` names the tenant's store in keys."""
        inputs: dict[str, Input] = {}
        places: list[dict[str, Any]] = []
        outputs: list[Output] = []
        inline: dict[str, BoundBuffer] = {}
        for buffer in binding.buffers.values():
            if buffer.source is not None:
                one = _input(digest, buffer, origin)
                inputs[one.key] = one
                places.append({"buffer": buffer.name, "key": one.key, "size": one.size})
            if isinstance(buffer.target, ObjectTarget):
                target = buffer.target
                outputs.append(Output(buffer, target.scheme, target.bucket, target.key, target.header, target.if_match))
            elif buffer.target is not None:
                inline[buffer.name] = buffer
        # The `run` frames of retries, and of equal calls, differ in their names and segments alone.
        run = {"type": "run", "digest": digest, "binding": binding.to_json(), "inputs": places}
        return Work(digest, run, inputs, tuple(outputs), inline, memory)


def _input(digest: str, buffer: BoundBuffer, origin: str) -> Input:
    source = buffer.source
    if isinstance(source, ObjectSource):
        item = ObjectRange(
            source.scheme, source.bucket, source.key, source.etag, source.version, source.offset, source.size
        )
        return Input(content_key(origin, item), source.size, item)
    if isinstance(source, InlineSource):
        return Input(f"inline:{hashlib.sha256(source.data).hexdigest()}", len(source.data), source.data)
    assert isinstance(source, BundleFile)
    return Input(f"file:{digest}:{source.offset}:{buffer.nbytes}:{source.path}", buffer.nbytes, source)


def render(buffer: BoundBuffer, data: str) -> Any:
    """The JSON value of an inline output that came as base64. Raises `executor_lost` for what is not its bytes."""
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError:
        content = b""
    if len(content) != buffer.nbytes:
        raise PlatformError("executor_lost", f"the executor gave {len(content)} bytes for {buffer.name!r}")
    return buffer.render(content)
