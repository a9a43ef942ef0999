"""Delays that the environment asks the emulated device for: lower bounds, which hold however busy the machine is."""

from __future__ import annotations

import pytest
from contract_device import KIND
from fresh_process import run

pytestmark = pytest.mark.skipif(KIND != "emulated", reason="a real device takes the time it takes")

MIB = 1 << 20


def seconds(step: str, delays: str) -> float:
    """How long a step took that went well."""
    answers, _ = run("operate", [step], KAAS_EMULATOR_DELAYS=delays)
    status, took = answers[0]
    assert status == "ok"
    return float(took)


@pytest.mark.parametrize(
    ("step", "delays", "least"),
    [
        ("context", "context:for=0.2s", 0.2),
        ("load", "module:for=200ms", 0.2),
        ("set", "launch:for=200ms", 0.2),
        ("set", "launch:for=80us", 80e-6),
        ("to device", "copy-to-device:for=200ms", 0.2),
        ("to device", "copy-to-device:rate=4M", 0.25),
        ("to device", "copy-to-device:for=100ms,rate=4M", 0.35),
        ("to host", "copy-to-host:rate=4M,for=1us; context:for=1ms", 0.25),
    ],
)
def test_it_takes_at_least_as_long(step: str, delays: str, least: float) -> None:
    assert seconds(step, delays) >= least


def test_the_directions_do_not_wait_for_each_other() -> None:
    assert run("directions", KAAS_EMULATOR_DELAYS="copy-to-device:for=1000s; copy-to-host:for=10ms")[0] == [False, 5]


@pytest.mark.parametrize(
    ("delays", "told"),
    [
        ("contexts:for=1s", "where the name is one of context, copy-to-device, copy-to-host, launch, module"),
        ("context:rate=1M", "context:KEY=VALUE,..., each key once, of for"),
        ("copy-to-host:rate=fast", 'KAAS_EMULATOR_DELAYS is "fast"; it must be a number of bytes'),
        ("module:for=1 fortnight", "a rule whose for is a time, such as 10us, 5ms or 2s"),
        ("module:for=700000s", "a rule whose for is a time, such as 10us, 5ms or 2s"),
    ],
)
def test_a_slip_is_refused_at_initialisation(delays: str, told: str) -> None:
    (code, refused), _ = run("refusal", KAAS_EMULATOR_DELAYS=delays)
    assert code == "CUDA_ERROR_INVALID_VALUE"
    assert told in refused
