"""The bundles an executor knows and their kernels on the device."""

from __future__ import annotations

import base64
import mmap
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kaas.errors import PlatformError
from kaas.graph import Source
from kaas.manifest import Manifest
from kaas_pool.compiler.signatures import KernelSignature
from kaas_pool.executor.device import Device, Function
from kaas_pool.frames import Frame
from kaas_pool.signature_check import Kernel, Signatures

#: Modules of so many bundles stay loaded; the others keep their image in host memory and are loaded again when used.
LOADED_BUNDLES = 64

#: The functions that `printf` becomes: on a GPU, and on the emulated device. An image that calls one has its name.
_PRINTF = (b"vprintf", b"kaas_printf")


@dataclass(frozen=True, eq=False)
class DeviceBundle:
    """A manifest, the images of its sources and what their kernels take."""

    manifest: Manifest
    images: Mapping[Source, bytes]
    signatures: Signatures

    @cached_property
    def prints(self) -> bool:
        """Whether a kernel may call printf."""
        return any(name in image for image in self.images.values() for name in _PRINTF)

    @staticmethod
    def of(manifest: Manifest, compiled: Iterable[tuple[bytes, Mapping[str, Any]]]) -> DeviceBundle:
        """From each source's image and signatures by kernel in JSON form, in the order of `Manifest.kernels`."""
        images: dict[Source, bytes] = {}
        signatures: dict[Kernel, KernelSignature] = {}
        for source, (image, items) in zip(manifest.kernels, compiled, strict=True):
            images[source] = image
            for kernel, item in items.items():
                signatures[source, kernel] = KernelSignature.from_json(item)
        return DeviceBundle(manifest, images, signatures)


class BundleStore:
    """Bundles by digest, with modules loaded as they are used."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._bundles: dict[str, DeviceBundle] = {}
        self._functions: OrderedDict[str, dict[Kernel, Function]] = OrderedDict()

    def add_frame(self, frame: Frame, descriptors: list[int]) -> None:
        """Take a `bundle` frame of the front: its images are in the order of the manifest's sources."""
        manifest = Manifest.parse(base64.b64decode(frame["manifest"]))
        images = [
            (_read(descriptor), item["signatures"])
            for descriptor, item in zip(descriptors, frame["images"], strict=True)
        ]
        self.add(frame["digest"], DeviceBundle.of(manifest, images))

    def add(self, digest: str, bundle: DeviceBundle) -> None:
        """Know a bundle from now on."""
        self._bundles.setdefault(digest, bundle)

    def get(self, digest: str) -> DeviceBundle:
        """The bundle; raises `internal` if the front has not sent it."""
        bundle = self._bundles.get(digest)
        if bundle is None:
            raise PlatformError("internal", f"the executor was never given the bundle {digest}")
        return bundle

    def functions(self, digest: str, kernels: tuple[Kernel, ...]) -> list[Function]:
        """The device functions of `kernels`, loading their modules if need be. Raises the driver's error."""
        functions = self._functions.get(digest)
        if functions is None:
            functions = self._functions[digest] = self._load(self._bundles[digest])
            if len(self._functions) > LOADED_BUNDLES:
                self._functions.popitem(last=False)
        else:
            self._functions.move_to_end(digest)
        return [functions[kernel] for kernel in kernels]

    def _load(self, bundle: DeviceBundle) -> dict[Kernel, Function]:
        modules = {source: self._device.load_module(image) for source, image in bundle.images.items()}
        return {
            (source, kernel): self._device.function(modules[source], signature.symbol)
            for (source, kernel), signature in bundle.signatures.items()
        }


def _read(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as image:
        return image[:]
