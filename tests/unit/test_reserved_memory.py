"""What the front reserves of a device for an invocation is what the executor's plan will pin there."""

from __future__ import annotations

import pytest

from kaas.binding import ObjectInfo, bind
from kaas.call import Call
from kaas.manifest import Manifest
from kaas_emulator.settings import CHECKED
from kaas_pool.compiler.messages import CompiledSource, Target, Unit
from kaas_pool.compiler.signatures import read_signatures
from kaas_pool.front.bundles import OpenedBundle
from kaas_pool.front.work import Work
from kaas_pool.limits import Limits
from kaas_pool.plan import Plan
from kaas_pool.signature_check import signatures_of

MANIFEST = b"""\
kaas: 1
name: shift
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  y: {io: out, dtype: float32, shape: [n]}
  t: {io: temp, dtype: float32, shape: [1000 * n], zero: true}
  u: {io: temp, dtype: float32, shape: [1000 * n], zero: true}
  v: {io: temp, dtype: float32, shape: [1000 * n]}
  unused: {io: temp, dtype: float32, shape: [n]}
graph:
  - {copy: {from: t, to: u}}
  - {fill: {buffer: v, value: 1}}
  - kernel: shift
    source: shift.cu
    threads: [n]
    block: [256]
    args: [x, y]
"""


@pytest.mark.parametrize(("parameter", "copies"), [("const float *x", 0), ("float *x", 1)])
@pytest.mark.parametrize(("checked", "temporaries"), [("0", 2), ("1", 3)])
def test_an_input_that_a_kernel_may_write_is_counted_twice(
    parameter: str, copies: int, checked: str, temporaries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CHECKED, checked)
    manifest = Manifest.parse(MANIFEST)
    (signature,) = read_signatures(f'extern "C" __global__ void shift({parameter}, float *y) {{}}')
    target = Target("emulated", (8, 0))
    (unit,) = Unit.all_of(manifest)
    compiled = [CompiledSource(unit, b"", {"shift": signature.to_json()}, "", 0.0)]
    bundle = OpenedBundle("sha256:" + "0" * 64, manifest, MANIFEST, {}, {target: compiled})
    call = Call.parse(manifest, {"x": "s3://data/x.raw", "y": "s3://data/y.npy"}, activation_id="a")
    binding = bind(manifest, call, {name: ObjectInfo("e", 4096, b"") for name in call.objects}, {})
    work = Work.of(bundle.digest, binding, bundle.device_bytes(binding), "store")
    # `v` lies where `t` or `u` lay, but where the device checks.
    assert work.memory == (2 + copies) * 4096 + temporaries * 1000 * 4096
    limits = Limits(apart=checked == "1")
    assert work.memory == Plan.build(manifest, binding, signatures_of(compiled), limits).device_bytes
