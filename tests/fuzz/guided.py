"""Coverage-guided mutation of bytes: `python tests/fuzz/guided.py TARGET SEEDS [libFuzzer's options]`.

SEEDS is a folder that the target's first inputs are written to and new ones are added to. A finding ends the run with a
traceback, and is left in the folder of `-artifact_prefix`. Needs CPython 3.11 to 3.13, as atheris does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "unit")]

with atheris.instrument_imports(include=["kaas", "kaas_pool"]):
    import guided_seeds
    import properties


def _text(check: Callable[[str], str]) -> Callable[[bytes], str]:
    # Lone surrogates, too, as JSON brings them.
    return lambda data: check(data.decode("utf-8", "surrogateescape"))


TARGETS: Mapping[str, Callable[[bytes], str]] = {
    "manifest": properties.check_manifest,
    "bundle": properties.check_bundle,
    "archive": properties.check_archive,
    "expression": _text(properties.check_expression),
    "npy": properties.check_npy,
    "safetensors": properties.check_safetensors,
    "reference": _text(properties.check_reference),
    "request": properties.check_request,
    "call": properties.check_call_body,
    "frame": properties.check_frame_body,
}
_NAMES = sorted(TARGETS)


def _any(data: bytes) -> str:
    """The target that the first byte says."""
    return TARGETS[_NAMES[data[0] % len(_NAMES)]](data[1:]) if data else "empty"


def main() -> None:
    """Run one target, or `any`; does not return."""
    target, seeds, *options = sys.argv[1:]
    if target == "any":
        found = [bytes([at]) + seed for at, name in enumerate(_NAMES) for seed in guided_seeds.SEEDS[name]]
    else:
        found = list(guided_seeds.SEEDS[target])
    for number, seed in enumerate(found):
        Path(seeds, f"seed-{number}").write_bytes(seed)
    check = _any if target == "any" else TARGETS[target]

    def one(data: bytes) -> None:
        check(data)

    atheris.Setup([sys.argv[0], *options, seeds], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
