"""Every CUDA source of the repository is one that NVIDIA's compiler takes too, for an old and a new architecture."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from contract_device import INSTANCES, KERNELS

from kaas.manifest import Manifest
from kaas_pool.compiler import nvrtc
from kaas_pool.compiler.messages import Unit

ROOT = Path(__file__).parents[2]
GALLERY = KERNELS / "gallery"


@dataclass(frozen=True)
class Case:
    """One compile. `file` is the source; where the text stands in a manifest, the manifest."""

    file: Path
    text: str
    root: Path
    defines: tuple[tuple[str, str], ...] = ()
    instances: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "-".join([str(self.file.relative_to(ROOT)), *(f"{name}={value}" for name, value in self.defines)])


def _of_bundle(manifest: Path) -> list[Case]:
    cases = []
    for unit in Unit.all_of(Manifest.parse(manifest.read_bytes())):
        source = unit.source
        if source.compiled_only:
            continue
        file = manifest if source.text is not None else manifest.parent / source.path
        text = source.text if source.text is not None else file.read_text()
        instances = tuple(kernel for kernel in unit.kernels if "<" in kernel)
        cases.append(Case(file, text, manifest.parent, source.defines, instances))
    return cases


def _manifests(folder: Path) -> list[Path]:
    return sorted(folder.rglob("kaas.yaml"))


def _of_file(file: Path) -> Case:
    name = str(file.relative_to(KERNELS).with_suffix("")) if file.is_relative_to(KERNELS) else ""
    return Case(file, file.read_text(), file.parent, instances=INSTANCES.get(name, ()))


CASES = [
    *(
        case
        for folder in ("examples", "runtime")
        for manifest in _manifests(ROOT / folder)
        for case in _of_bundle(manifest)
    ),
    *(_of_file(file) for folder in (KERNELS, ROOT / "cli") for file in sorted(folder.rglob("*.cu"))),
]


@pytest.mark.parametrize("capability", [(7, 0), (9, 0)], ids=["sm_70", "sm_90"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_nvrtc_compiles_it(case: Case, capability: tuple[int, int]) -> None:
    cubin = nvrtc.compile_cubin(
        case.text,
        case.file.name,
        compute_capability=capability,
        include=[case.file.parent, case.root, *nvrtc.include_directories()],
        defines=case.defines,
        expressions=case.instances,
    )
    assert cubin.image.startswith(b"\x7fELF")
    assert set(cubin.symbols) == set(case.instances)
    if case.file.parent == GALLERY:
        warnings = [line for line in cubin.log.splitlines() if line and "Architectures prior to" not in line]
        assert not warnings


def test_nvrtc_works_beside_an_emulated_driver() -> None:
    """It asks a libcuda.so.1 of its process for private tables, and crashes where there is nobody to say no."""
    program = """
from contract_device import driver
from kaas_pool.compiler import nvrtc
driver()
nvrtc.compile_cubin(
    "__global__ void f() {}", "f.cu", compute_capability=(9, 0), include=[], defines=[], expressions=[]
)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_every_source_is_compiled() -> None:
    found = {file for file in ROOT.rglob("*.cu") if not any(part[0] == "." for part in file.relative_to(ROOT).parts)}
    found -= set((ROOT / "tests" / "broken-bundles").rglob("*.cu"))  # Most are not to compile.
    assert found
    assert found <= {case.file for case in CASES}


def test_every_kernel_of_the_gallery_is_launched() -> None:
    texts = "".join(path.read_text() for path in Path(__file__).parent.glob("test_gallery_*.py"))
    files = sorted(GALLERY.glob("*.cu"))
    assert len(files) >= 25
    assert [file.stem for file in files if f'kernels("{file.stem}")' not in texts] == []
