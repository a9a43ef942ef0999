"""The example `cells`: CPU and kernel actions in a sequence that counts the cells on a photo."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kaas_cli.examples import example_folder, load_script, pack_example
from kaas_cli.openwhisk import Activation, Code, OpenWhisk

SEQUENCE = "count-cells"
PHOTO = "s3://data/cells.png"

_PACKAGE = "cells"
_PREPARE, _SUMMARISE = f"{_PACKAGE}/prepare", f"{_PACKAGE}/summarise"
_STEPS = {_PREPARE: "python:3", "blur": "kaas:1", "regions": "kaas:1", _SUMMARISE: "python:3"}

_RADIUS, _THRESHOLD = 2, 110
_OUTPUTS = "s3://out/cells"

#: What the kernel actions are bound to. The next kernel reads the blurred photo, and nobody waits for it in the store.
_BOUND: dict[str, dict[str, Any]] = {
    "blur": {"radius": _RADIUS, "outputs": _OUTPUTS, "ack": "device"},
    "regions": {"threshold": _THRESHOLD, "outputs": _OUTPUTS, "rename": {"blurred": "image"}},
}

#: Reads an array from the store.
Get = Callable[[str], npt.NDArray[Any]]


@dataclass(frozen=True)
class Step:
    """One component of the sequence in its first and its second run; times in milliseconds."""

    name: str
    kind: str
    first: Activation
    again: Activation

    @property
    def is_kernel(self) -> bool:
        """Whether it has statistics."""
        return self.kind == "kaas:1"


@dataclass(frozen=True)
class Report:
    """What the sequence came to."""

    steps: list[Step]
    result: dict[str, Any]
    drawn: int
    #: Its labels are NumPy's, both times, and its count is that of the cells drawn.
    is_equal: bool

    @property
    def misses_between_kernels(self) -> int:
        """Inputs that a kernel after a kernel had to get from the store."""
        kernels = [step for step in self.steps if step.is_kernel]
        return sum(run.stats["misses"] for step in kernels[1:] for run in (step.first, step.again))


@dataclass(frozen=True)
class Photo:
    """A drawn photo, how many cells are on it, and what the kernels must make of it."""

    content: bytes
    cells: int
    labels: npt.NDArray[Any]


def draw() -> Photo:
    """The photo of examples/cells/draw.py. Of 25 pixels no mean lies near a half: labels can be compared exactly."""
    image, cells = load_script(example_folder("cells") / "draw.py").photo()
    content = io.BytesIO()
    image.save(content, "PNG")
    blurred = load_script(example_folder("blur") / "reference.py").expected(np.asarray(image), _RADIUS)["blurred"]
    labels = load_script(example_folder("regions") / "reference.py").expected(blurred, _THRESHOLD)["labels"]
    return Photo(content.getvalue(), cells, labels)


def create(openwhisk: OpenWhisk, variables: Mapping[str, str]) -> None:
    """Create the four actions and the sequence; `variables` tell of the store, for the CPU actions."""
    store = {
        "endpoint": variables["AWS_ENDPOINT_URL_S3"],
        "access_key": variables["AWS_ACCESS_KEY_ID"],
        "secret_key": variables["AWS_SECRET_ACCESS_KEY"],
    }
    openwhisk.put_package(_PACKAGE, store)
    for name, kind in _STEPS.items():
        if kind == "kaas:1":
            create_kernel(openwhisk, name, pack_example(example_folder(name)), _BOUND[name])
        else:
            file = Path(f"examples/{name}.py")
            content = (example_folder("cells") / file.name).read_bytes()
            openwhisk.put_action(name, Code(kind, content, file), {}, {})
    openwhisk.put_sequence(SEQUENCE, list(_STEPS))


def create_kernel(openwhisk: OpenWhisk, name: str, zipped: bytes, parameters: Mapping[str, Any]) -> None:
    """Create a kernel action, which is to act with its caller's rights."""
    code = Code("kaas:1", zipped, Path(f"{name}.zip"))
    openwhisk.tell(f"kaas build examples/{name} -o {code.file}")
    openwhisk.put_action(name, code, parameters, {"provide-api-key": True})


def run(openwhisk: OpenWhisk, photo: Photo, get: Get) -> Report:
    """Invoke the sequence on the stored photo, twice."""
    sequences = [openwhisk.invoke(SEQUENCE, {"photo": PHOTO}) for _ in range(2)]
    runs = [[openwhisk.activation(component) for component in sequence.logs] for sequence in sequences]
    steps = [Step(name, kind, *both) for (name, kind), *both in zip(_STEPS.items(), *runs, strict=True)]
    is_equal = all(
        sequence.result["cells"] == photo.cells and np.array_equal(get(regions.result["labels"]), photo.labels)
        for sequence, (_, _, regions, _) in zip(sequences, runs, strict=True)
    )
    return Report(steps, sequences[0].result, photo.cells, is_equal)
