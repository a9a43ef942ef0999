"""`python -m kaas_pool.sandbox DEVICE SCRATCH`: confine this process as an executor and print which walls hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from kaas_pool.sandbox import DeviceKind, confine_executor

if __name__ == "__main__":
    device: DeviceKind = "cuda" if sys.argv[1] == "cuda" else "emulated"
    walls = confine_executor(device, scratch=Path(sys.argv[2]), allow_unsandboxed=True)
    sys.stdout.write(json.dumps(walls.to_json()))
