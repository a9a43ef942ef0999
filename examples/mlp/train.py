"""Train the network of the mlp example and write weights.safetensors, which the bundle has: `python train.py`."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from generate import spirals  # type: ignore[import-not-found]

SIZES = (2, 32, 32, 3)

Array = np.ndarray[Any, Any]


def forward(weights: list[Array], biases: list[Array], x: Array) -> list[Array]:
    """What every layer gives, the input first."""
    values = [x]
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        sums = values[-1] @ weight.T + bias
        values.append(np.maximum(sums, 0) if layer < len(weights) - 1 else sums)
    return values


def gradients(weights: list[Array], values: list[Array], classes: Array) -> list[Array]:
    """Those of the mean cross-entropy, for all weights and then all biases."""
    powers = np.exp(values[-1] - values[-1].max(axis=1, keepdims=True))
    error = powers / powers.sum(axis=1, keepdims=True)
    error[np.arange(len(classes)), classes] -= 1
    of_weights: list[Array] = []
    of_biases: list[Array] = []
    for weight, value in zip(reversed(weights), reversed(values[:-1]), strict=True):
        of_weights.insert(0, error.T @ value / len(classes))
        of_biases.insert(0, error.mean(axis=0))
        error = (error @ weight) * (value > 0)
    return of_weights + of_biases


def train(rounds: int = 800, rate: float = 0.01) -> tuple[list[Array], list[Array]]:
    """Weights and biases, by Adam's method."""
    random = np.random.default_rng(14)
    x, classes = spirals(600, random)
    weights = [random.normal(0, np.sqrt(2 / a), (b, a)) for a, b in itertools.pairwise(SIZES)]
    values = weights + [np.zeros(b) for b in SIZES[1:]]
    means, squares = [np.zeros_like(value) for value in values], [np.zeros_like(value) for value in values]
    for time in range(1, rounds + 1):
        weights, biases = values[: len(weights)], values[len(weights) :]
        for at, slope in enumerate(gradients(weights, forward(weights, biases, x), classes)):
            means[at] = 0.9 * means[at] + 0.1 * slope
            squares[at] = 0.999 * squares[at] + 0.001 * slope**2
            step = means[at] / (1 - 0.9**time) / (np.sqrt(squares[at] / (1 - 0.999**time)) + 1e-8)
            values[at] = values[at] - rate * step
    return values[: len(weights)], values[len(weights) :]


def write(path: Path, tensors: dict[str, Array]) -> None:
    """A safetensors file: the length of a header, the header, the data."""
    names = {np.dtype(np.int8): "I8", np.dtype(np.float32): "F32"}
    header, at = {}, 0
    for name, tensor in tensors.items():
        end = at + tensor.nbytes
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(one.tobytes() for one in tensors.values()))


if __name__ == "__main__":
    scales, biases, weights = {}, {}, {}
    for layer, (weight, bias) in enumerate(zip(*train(), strict=True), 1):
        scale = np.abs(weight).max(axis=1) / 127
        scales[f"{layer}.scale"] = scale.astype(np.float32)
        biases[f"{layer}.bias"] = bias.astype(np.float32)
        weights[f"{layer}.weight"] = np.rint(weight / scale[:, None]).astype(np.int8)
    # The bytes last, so that the floats are aligned.
    write(Path(__file__).parent / "weights.safetensors", {**scales, **biases, **weights})
