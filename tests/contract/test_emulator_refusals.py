"""What the emulator does not have: each is refused at the author's line, by name, with what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from contract_device import KIND

from kaas_emulator import CompileFailed, sources, toolchain

pytestmark = pytest.mark.skipif(KIND != "emulated", reason="about the emulated device")

KERNEL = 'extern "C" __global__ void k(float* out) {\n    BODY\n}\n'


def log_of(directory: Path, text: str) -> list[str]:
    """The compiler's log, line by line."""
    source = directory / "source.cu"
    source.write_text(text)
    with pytest.raises(CompileFailed) as caught:
        toolchain.compile_image(source, ["k"], includes=[], defines={}, workdir=directory)
    return caught.value.log.splitlines()


HEADERS = {
    "mma.h": "tensor cores are not emulated",
    "cuda_bf16.h": "bfloat16 is not emulated; use half or float",
    "cuda_fp8.h": "floats of 4, 6 and 8 bits",
    "cub/cub.cuh": "Thrust and CUB are not part",
    "thrust/sort.h": "Thrust and CUB are not part",
    "curand_kernel.h": "cuRAND is not emulated; compute random numbers from a counter",
    "cuda/barrier": "libcu++",
    "cuda/std/atomic": "libcu++",
    "texture_fetch_functions.h": "no textures; read the buffer by index",
    "surface_functions.h": "no surfaces; write to a buffer by index",
    "cublas_v2.h": "device code only",
}


@pytest.mark.parametrize("header", HEADERS)
def test_headers(tmp_path: Path, header: str) -> None:
    first, second = log_of(tmp_path, f"// One line before.\n#include <{header}>\n" + KERNEL)
    assert first.startswith(f"source.cu:2: error: {header}: ")
    assert HEADERS[header] in first
    assert second == f"    #include <{header}>"


STATEMENTS = {
    'asm("mov.u32 %0, %%laneid;" : "=r"(*(unsigned*)out));': "inline PTX is not emulated",
    'if (*out > 0) asm volatile("bar.sync 0;");': "inline PTX is not emulated",
    "k<<<1, 32>>>(out);": "the manifest's graph launches it",
    "cudaMalloc((void**)&out, 4);": "'cudaMalloc': the CUDA runtime's functions cannot be called",
    "cudaDeviceSynchronize();": "'cudaDeviceSynchronize': the CUDA runtime's functions",
    "*out = tex2D<float>(cudaTextureObject_t(0), 0, 0);": "no textures; read the buffer by index",
    "surf2Dread(out, 0, 4, 0);": "'surf2Dread': a kernel action has no surfaces",
    "*out = __shfl(*out, 3);": "'__shfl': CUDA has removed it; the function that ends in _sync",
    "*out = __bfloat162float(*out);": "'__bfloat162float': bfloat16 is not emulated",
    "*out = nvcuda::wmma::load(out);": "'nvcuda': tensor cores are not emulated",
    "thrust::sort(out, out + 4);": "'thrust': Thrust and CUB",
    "*out = __isShared(out);": "'__isShared': the emulated device has one address space",
}


@pytest.mark.parametrize("statement", STATEMENTS)
def test_statements(tmp_path: Path, statement: str) -> None:
    log = log_of(tmp_path, KERNEL.replace("BODY", statement))
    assert log[0].startswith("source.cu:2: error: ")
    assert STATEMENTS[statement] in log[0]
    assert log[1] == f"    {statement}"
    assert all(STATEMENTS[statement].partition("':")[2] in line for line in log[::2]), "noise besides"


SECTIONS = "sections whose names begin with .kaas are the emulator's own; give this one another name"
DECLARATIONS = {
    "texture<float, 2> image;": "'texture': a kernel action has no textures",
    "__managed__ int counter;": "managed memory is not supported",
    "__global__ void f(cudaSurfaceObject_t image) {}": "'cudaSurfaceObject_t': a kernel action has no surfaces",
    "__global__ void __cluster_dims__(2, 1, 1) f(int* out) {}": "clusters of blocks",
    "__device__ __nv_bfloat16 b;": "'__nv_bfloat16': bfloat16 is not emulated",
    '__attribute__((section(".kaas.resources"))) int own = 1;': SECTIONS,
    'asm(".pushsection .kaas.resources\\n.long 1\\n.popsection");': SECTIONS,
}


@pytest.mark.parametrize("declaration", DECLARATIONS)
def test_declarations(tmp_path: Path, declaration: str) -> None:
    log = log_of(tmp_path, KERNEL.replace("BODY", "") + "\n" + declaration)
    assert log[0].startswith("source.cu:5: error: ")
    assert DECLARATIONS[declaration] in log[0]
    assert log[1:] == [f"    {declaration}"]


MANY = r"""asm(".altmacro\n.macro s at\n.section .s\\at\n.byte 0\n.endm\n"
    ".set at, 0\n.rept 66000\ns %at\n.set at, at + 1\n.endr\n.text");
"""


@pytest.mark.parametrize(
    "declaration",
    ['__attribute__((section(".ka" "as.resources"))) int own = 1;', MANY],
    ids=["a name in two parts", "more than are counted"],
)
def test_sections_are_looked_at_in_the_image_as_well(tmp_path: Path, declaration: str) -> None:
    log = log_of(tmp_path, KERNEL.replace("BODY", "") + declaration)
    assert log == [
        "error: the image's section .kaas.resources holds more than the emulator wrote into it, or cannot be found: "
        "the source has one of the same name, or too many sections"
    ]


GROUPS = {
    "cg::this_grid().sync();": "synchronising a grid needs a cooperative launch, which is not emulated",
    "cg::this_cluster().sync();": "clusters of blocks are not emulated",
    "cg::tiled_partition<64>(cg::this_thread_block()).sync();": "tiles of more than 32 threads are not emulated",
    "cg::tiled_partition<12>(cg::this_thread_block()).sync();": "the size of a tile must be a power of two",
}


@pytest.mark.parametrize("statement", GROUPS)
def test_cooperative_groups(tmp_path: Path, statement: str) -> None:
    head = "#include <cooperative_groups.h>\nnamespace cg = cooperative_groups;\n"
    log = log_of(tmp_path, head + KERNEL.replace("BODY", statement))
    assert log[0].startswith(f"source.cu:4: error: {GROUPS[statement]}")
    assert log[1] == f"    {statement}"


def test_the_place_is_that_in_a_header_of_the_authors(tmp_path: Path) -> None:
    (tmp_path / "part.h").write_text('\n__device__ void wait() { asm volatile("bar.sync 0;"); }\n')
    log = log_of(tmp_path, '#include "part.h"\n' + KERNEL.replace("BODY", "wait();"))
    assert log[0].startswith("part.h:2: error: inline PTX")


def test_a_kernel_returns_nothing(tmp_path: Path) -> None:
    text = KERNEL.replace("BODY", "return 1;").replace("void", "int")
    assert log_of(tmp_path, text) == ["kernel k: error: a kernel must return void"]


def test_messages_keep_to_this_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = KERNEL.replace("BODY", "*out = min(1, 1.0f);")
    log = log_of(tmp_path, text)
    monkeypatch.setenv("KAAS_CACHE_DIR", str(tmp_path / "cache"))
    other = tmp_path / "other" / "include"
    shutil.copytree(sources.include_directory(), other)
    with monkeypatch.context() as patched:
        patched.setattr(sources, "include_directory", lambda: other)
        toolchain.build_prefix()
    assert log_of(tmp_path, text) == log
    assert not any("from" in line or "/" in line for line in log), log


def test_static_shared_memory_has_a_limit(tmp_path: Path) -> None:
    body = (
        "__shared__ float values[SIZE]; values[threadIdx.x] = *out; __syncthreads(); *out = values[63 - threadIdx.x];"
    )
    told = (
        "kernel k: error: 49156 bytes of static shared memory are more than the 49152 that a kernel can have; "
        "declare it extern and give the step shared: bytes"
    )
    assert log_of(tmp_path, KERNEL.replace("BODY", body.replace("SIZE", "12289"))) == [told]
    source = tmp_path / "source.cu"
    source.write_text(KERNEL.replace("BODY", body.replace("SIZE", "12288")))
    image = toolchain.compile_image(source, ["k"], includes=[], defines={}, workdir=tmp_path)
    assert image.startswith(b"\x7fELF")


@pytest.mark.parametrize(
    "text",
    [
        KERNEL.replace("BODY", 'asm volatile("" ::: "memory");'),
        '#include <iostream>\n#include <ctime>\n#include "part.h"\n' + KERNEL.replace("BODY", "*out = clock();"),
        KERNEL.replace("BODY", "const int texture = 1, cuda = 2, surface = 3; *out = texture + cuda + surface;"),
        'asm(".data\\n\\t.align 1<<4\\n\\t.align 0\\n\\t.long\\t07\\n.text");' + KERNEL.replace("BODY", ""),
        # As C++ libraries have it from GCC 12 on.
        "__attribute__((__cold__, __noinline__)) void one(); [[gnu::__noinline__]] void two();"
        "__device__ __noinline__ int three() { return 3; }" + KERNEL.replace("BODY", "*out = three();"),
        KERNEL.replace("BODY", 'const char* asm_text = "asm <<< __managed__"; *out = asm_text[0];'),
    ],
    ids=["empty assembly", "headers with assembly", "names", "assembly of the compiler's form", "attributes", "text"],
)
def test_what_only_looks_like_it_compiles(tmp_path: Path, text: str) -> None:
    (tmp_path / "part.h").write_text('extern "C" int renamed(int) __asm__("abs");\n')
    source = tmp_path / "source.cu"
    source.write_text(text)
    image = toolchain.compile_image(source, ["k"], includes=[], defines={}, workdir=tmp_path)
    assert image.startswith(b"\x7fELF")
