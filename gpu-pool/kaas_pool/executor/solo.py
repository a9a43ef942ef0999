"""Runs bundles in this process, with no pool and no object store: `kaas run`, and the check of a GPU machine."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kaas.binding import Binding, BundleFile, InlineSource, ObjectInfo, bind
from kaas.bundle import Bundle
from kaas.call import Call
from kaas.dtypes import find_dtype
from kaas.errors import KaasError, PlatformError
from kaas.formats import format_of
from kaas.messages import LogLine
from kaas_pool.compiler.messages import CompiledSource
from kaas_pool.executor.bundles import DeviceBundle
from kaas_pool.executor.device import Device, DeviceKind
from kaas_pool.executor.host import Mapped
from kaas_pool.executor.printing import Sink
from kaas_pool.executor.profile import Profile
from kaas_pool.executor.worker import ContextLost, Worker
from kaas_pool.frames import Frame
from kaas_pool.printed import printed_lines

Array = npt.NDArray[Any]

#: Between two looks at the device, in seconds: the driver's events can only be asked.
_PAUSE = 50e-6


@dataclass(frozen=True)
class Outcome:
    """The outputs by buffer, and the executor's statistics of this run."""

    outputs: Mapping[str, Array]
    stats: Mapping[str, Any]


class Solo:
    """A device in this process, which runs one bundle after the other. `close` it."""

    def __init__(self, kind: DeviceKind, index: int = 0) -> None:
        self.device = Device(kind, index)
        self._frames: list[Frame] = []
        self._sink = Sink()
        self._worker = Worker(self.device, self.device.free_bytes(), self._frames.append, self._sink)
        self._runs = 0
        #: What the kernels of the last run printed, also of one that failed.
        self.printed: tuple[LogLine, ...] = ()
        #: Whether a fault took the context, after which every call to the device fails.
        self.lost = False

    def close(self) -> None:
        """Leave the device; after a lost context nothing but the end of the process does."""
        self._sink.close()
        self.device.close()

    def run(
        self,
        bundle: Bundle,
        compiled: Sequence[CompiledSource],
        arguments: Mapping[str, Any],
        profile: Profile | None = None,
    ) -> Outcome:
        """Run `bundle` once. Inputs are NumPy arrays, bytes or a call's inline values, parameters a call's values.

        `compiled` are its sources in the order written; `profile` gets the times of its operations. Raises KaasError as
        the pool answers it; after a `kernel_fault` the device is lost to this process.
        """
        binding = bind_arrays(bundle, arguments)
        images = [(one.image, one.signatures) for one in compiled]
        self._worker.bundles.add(bundle.digest, DeviceBundle.of(bundle.manifest, images))
        self._runs += 1
        self.printed = ()
        inv = str(self._runs)
        contents = {f"{inv}/{name}": data for name, data in _contents(bundle, binding, arguments).items()}
        targets = [buffer for buffer in binding.buffers.values() if buffer.target is not None]
        with _segments([buffer.nbytes for buffer in targets]) as segments:
            frame = {
                "type": "run",
                "inv": inv,
                "digest": bundle.digest,
                "binding": binding.to_json(),
                "inputs": [{"buffer": key.partition("/")[2], "key": key} for key in contents],
                "outputs": [{"buffer": one.name, "segment": one.name, "fd": at} for at, one in enumerate(targets)],
            }
            if profile is not None:
                profile.begun = time.monotonic()
            with self._sink.redirected():
                stats = self._until_done(frame, segments, contents, profile)
            outputs = {}
            for segment, buffer in zip(segments, targets, strict=True):
                data = Mapped(segment, 0, buffer.nbytes, writable=False).array
                outputs[buffer.name] = data.view(buffer.dtype).reshape(buffer.shape).copy()
        return Outcome(outputs, stats)

    def _until_done(
        self, run: Frame, segments: Sequence[int], contents: Mapping[str, Array], profile: Profile | None
    ) -> Mapping[str, Any]:
        try:
            self._worker.handle(run, [os.dup(segment) for segment in segments], profile)
            while True:
                for frame in self._answers():
                    self._note(frame)
                    if frame["type"] == "done":
                        self._worker.handle({"type": "drop", "inv": run["inv"]}, [])
                        stats: Mapping[str, Any] = frame["stats"]
                        return stats
                    if frame["type"] == "failed":
                        raise KaasError.from_json(frame["error"])
                    if frame["type"] == "need":
                        for key in frame["keys"]:
                            self._supply(run["inv"], key, contents[key])
                if not self._worker.poll():
                    time.sleep(_PAUSE)  # The device tells by being asked only: a driver has no descriptor to wait on.
        except ContextLost:
            self.lost = True
            failed = next(frame for frame in self._answers() if frame["type"] == "failed")
            self._note(failed)
            raise KaasError.from_json(failed["error"]) from None

    def _note(self, frame: Frame) -> None:
        if "printed" in frame:
            self.printed = printed_lines(frame["printed"], time.time())

    def _answers(self) -> list[Frame]:
        frames, self._frames[:] = list(self._frames), []
        return frames

    def _supply(self, inv: str, key: str, data: Array) -> None:
        with _segments([data.nbytes]) as (segment,):
            Mapped(segment, 0, data.nbytes, writable=True).array[:] = data
            frame = {"type": "supply", "inv": inv, "key": key, "offset": 0, "size": data.nbytes}
            self._worker.handle(frame, [os.dup(segment)])


def run_bundle(
    bundle: Bundle,
    compiled: Sequence[CompiledSource],
    arguments: Mapping[str, Any],
    kind: DeviceKind,
    index: int = 0,
) -> Outcome:
    """Run one bundle once on a device of `kind`; see `Solo.run`."""
    solo = Solo(kind, index)
    try:
        return solo.run(bundle, compiled, arguments)
    finally:
        solo.close()


def bind_arrays(bundle: Bundle, arguments: Mapping[str, Any]) -> Binding:
    """Bind NumPy arrays, and bytes as raw data, as if they were objects.

    Arguments have the action's own names. Raises what `Call.parse` and `bind` raise.
    """
    manifest = bundle.manifest
    values: dict[str, Any] = {}
    headers: dict[str, ObjectInfo] = {}
    for name, value in arguments.items():
        if isinstance(value, np.ndarray):
            reference = f"file:///{name}.npy"
            dtype = find_dtype(value.dtype.name, f"arguments.{name}")
            head = format_of(reference).make_header(dtype, value.shape)
            headers[reference] = ObjectInfo("", len(head) + value.nbytes, head)
            values[name] = reference
        elif isinstance(value, bytes):
            reference = f"file:///{name}"
            headers[reference] = ObjectInfo("", len(value))
            values[name] = reference
        else:
            values[name] = value
    for buffer in manifest.buffers.values():
        if buffer.io == "inout" and buffer.name in values:
            values[buffer.name] = {"from": values[buffer.name], "to": f"file:///outputs/{buffer.name}.npy"}
    call = Call.parse(manifest, values, activation_id="run", outputs_prefix="file:///outputs")
    return bind(manifest, call, headers, bundle.layouts)


def _contents(bundle: Bundle, binding: Binding, arguments: Mapping[str, Any]) -> dict[str, Array]:
    """The bytes of every input, by buffer."""
    contents: dict[str, Array] = {}
    for name, buffer in binding.buffers.items():
        source = buffer.source
        if isinstance(source, InlineSource):
            contents[name] = np.frombuffer(source.data, np.uint8)
        elif isinstance(source, BundleFile):
            contents[name] = np.frombuffer(bundle.files[source.path], np.uint8, buffer.nbytes, source.offset)
        elif source is not None:
            given = arguments[name]
            array = np.frombuffer(given, np.uint8) if isinstance(given, bytes) else given
            # The device's order of bytes, whatever the array's is.
            array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            contents[name] = array.reshape(-1).view(np.uint8)
    return contents


@contextlib.contextmanager
def _segments(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Shared memory as the mover makes it, one descriptor for each size."""
    descriptors: list[int] = []
    try:
        for size in sizes:
            descriptors.append(os.memfd_create("kaas-segment", os.MFD_CLOEXEC))
            os.ftruncate(descriptors[-1], size)
        yield descriptors
    except OSError as error:
        raise PlatformError("internal", f"no shared memory: {error}") from error
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
