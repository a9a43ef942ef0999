"""What stands on PATH as `nvcc` for PyCUDA's own tools: as much of its command line as they use, for the chosen device.

--version | (--preprocess | --cubin) [-arch sm_NN] [-I directory]... [-D name=value]... source.cu
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from contract_device import KIND

from kaas_emulator import CompileFailed, toolchain
from kaas_pool.compiler import nvrtc
from kaas_pool.compiler.signatures import read_signatures


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for flag in ("--version", "--preprocess", "--cubin", "--compiler-options", "-P"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("-arch", default="sm_90")
    parser.add_argument("-I", dest="includes", type=Path, action="append", default=[])
    parser.add_argument("-D", dest="defines", action="append", default=[])
    parser.add_argument("source", type=Path, nargs="?")
    options = parser.parse_args()
    if options.version:
        # PyCUDA keeps what was compiled under this line.
        print(f"nvcc of the contract tests, {toolchain.fingerprint()}")
        return 0
    source, defines = options.source.resolve(), dict(define.split("=", 1) for define in options.defines)
    work = source.parent
    try:
        text = toolchain.preprocess(source, includes=options.includes, defines=defines, workdir=work)
        if options.preprocess:
            print(text)
            return 0
        source.with_suffix(".cubin").write_bytes(_compile(source, text, options.includes, defines, options.arch))
    except (CompileFailed, nvrtc.Refused) as refused:
        print(refused, file=sys.stderr)
        return 1
    return 0


def _compile(source: Path, text: str, includes: list[Path], defines: dict[str, str], architecture: str) -> bytes:
    kernels = [one.name for one in read_signatures(text) if not one.template]
    if KIND == "emulated":
        return toolchain.compile_image(source, kernels, includes=includes, defines=defines, workdir=source.parent)
    number = int(architecture.removeprefix("sm_"))
    return nvrtc.compile_cubin(
        source.read_text(),
        source.name,
        compute_capability=divmod(number, 10),
        include=[*includes, *nvrtc.include_directories()],
        defines=tuple(defines.items()),
        expressions=kernels,
    ).image


if __name__ == "__main__":
    sys.exit(main())
