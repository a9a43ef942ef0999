"""Compiling in real, confined children: what they make, what they say, and what they cannot see."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path

import pytest

import kaas_pool
from kaas.archive import write_archive
from kaas.bundle import Bundle
from kaas.errors import AuthorError
from kaas_pool.compiler import CompiledSource, Target, compile_bundle
from kaas_pool.compiler.signatures import KernelSignature
from kaas_pool.sandbox import landlock
from kaas_pool.sandbox.policy import Limits
from kaas_pool.spawn import environment

needs_landlock = pytest.mark.skipif(landlock.version() == 0, reason="this kernel has no Landlock")
needs_nvrtc = pytest.mark.skipif(importlib.util.find_spec("cuda") is None, reason="the extra 'gpu' is not installed")

EMULATED = Target("emulated")
CUDA = Target("cuda", (9, 0))

both_devices = pytest.mark.parametrize(
    "target", [EMULATED, pytest.param(CUDA, marks=needs_nvrtc)], ids=lambda t: t.device
)

SCALE = 'extern "C" __global__ void scale(float *x, int n) {\n    int i = threadIdx.x;\n    if (i < n) x[i] *= 2;\n}\n'

MANIFEST = """
kaas: 1
name: test
buffers:
  x: {{io: inout, dtype: float32, shape: [n]}}
graph:
  - kernel: {kernel}
    source: {source}
    threads: [n]
    block: [32]
    args: [x, int32(n)]
"""


def bundle(source: str, kernel: str = "scale", **files: str) -> Bundle:
    """A bundle with one kernel of `k.cu`, and other files by name."""
    manifest = MANIFEST.format(kernel=f'"{kernel}"', source="k.cu")
    contents = {"kaas.yaml": manifest, "k.cu": source}
    return Bundle.open(write_archive({name: text.encode() for name, text in (contents | files).items()}))


def one(source: Bundle, target: Target = EMULATED) -> CompiledSource:
    (compiled,) = compile_bundle(source, target)
    return compiled


def refused(source: Bundle, target: Target = EMULATED, limits: Limits | None = None) -> AuthorError:
    with pytest.raises(AuthorError) as caught:
        compile_bundle(source, target) if limits is None else compile_bundle(source, target, limits=limits)
    return caught.value


# ***** What it makes *****


@both_devices
def test_a_good_source_becomes_an_elf_image_with_signatures(target: Target) -> None:
    compiled = one(bundle(SCALE), target)
    assert compiled.image[:4] == b"\x7fELF"
    signature = KernelSignature.from_json(compiled.signatures["scale"])
    assert signature.symbol == "scale"
    assert [(parameter.name, parameter.type) for parameter in signature.parameters] == [("x", "float*"), ("n", "int")]
    assert compiled.seconds > 0
    assert not compiled.cached


SHARED = """
extern "C" __global__ void __launch_bounds__(64) scale(float *x, int n) {
    __shared__ float row[SIZE];
    row[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    if (threadIdx.x < n) x[threadIdx.x] = 2 * row[63 - threadIdx.x];
}
"""


@both_devices
def test_what_a_kernel_takes_of_a_block_is_known(target: Target) -> None:
    signature = KernelSignature.from_json(one(bundle(SHARED.replace("SIZE", "300")), target).signatures["scale"])
    assert (signature.static_shared, signature.most_threads) == (1200, 64)


@both_devices
def test_static_shared_memory_over_every_devices_limit_does_not_compile(target: Target) -> None:
    error = refused(bundle(SHARED.replace("SIZE", "12289")), target)
    assert (error.code, error.where) == ("compile_error", "k.cu:2")
    assert error.message == "scale declares 49156 bytes of static shared memory; a block may have 49152"
    assert "extern __shared__" in str(error.hint)


@both_devices
def test_headers_of_the_bundle_and_defines(target: Target) -> None:
    manifest = MANIFEST.format(kernel="scale", source="src/k.cu\n    defines: {FACTOR: 3}")
    files = {
        "kaas.yaml": manifest,
        "src/k.cu": '#include "near.h"\n#include "lib/far.h"\n' + SCALE.replace("2", "FACTOR * NEAR * FAR"),
        "src/near.h": "#define NEAR 1",
        "lib/far.h": '#include "deep/er.h"',
        "lib/deep/er.h": "#define FAR 1",
    }
    source = Bundle.open(write_archive({name: text.encode() for name, text in files.items()}))
    assert one(source, target).image[:4] == b"\x7fELF"


NAMES = """
namespace space { template <typename T, int N> __global__ void f(T *x, int n) { x[0] = N; } }
namespace space { __global__ void g(float *x, int n) { x[0] = n; } }
__global__ void h(float *x, int n) { x[0] = n; }
"""


@both_devices
@pytest.mark.parametrize("name", ["space::f<float, 256>", "f<float,256>", "space::g", "g", "h", "_ZN5space1gEPfi"])
def test_kernels_are_found_by_their_source_level_names(target: Target, name: str) -> None:
    symbol = one(bundle(NAMES, name), target).signatures[name]["symbol"]
    assert symbol.startswith("_Z") if target.device == "cuda" else symbol.rpartition("::")[2][0] in "fgh"


def test_images_are_kept_and_found_again(tmp_path: Path) -> None:
    first = compile_bundle(bundle(SCALE), EMULATED, images=tmp_path)
    again = compile_bundle(bundle(SCALE), EMULATED, images=tmp_path)
    other = compile_bundle(bundle(SCALE.replace("2", "3")), EMULATED, images=tmp_path)
    assert [compiled.cached for compiled in (*first, *again, *other)] == [False, True, False]
    assert first[0].image == again[0].image
    assert first[0].signatures == again[0].signatures


def test_two_at_once_do_not_meet() -> None:
    outcomes: dict[str, CompiledSource | BaseException] = {}

    def work(name: str, source: Bundle) -> None:
        try:
            outcomes[name] = one(source)
        except BaseException as error:
            outcomes[name] = error

    good = threading.Thread(target=work, args=("good", bundle(SCALE)))
    bad = threading.Thread(target=work, args=("bad", bundle("int x = ;\n")))
    good.start()
    bad.start()
    good.join()
    bad.join()
    assert isinstance(outcomes["good"], CompiledSource)
    assert isinstance(outcomes["bad"], AuthorError)


# ***** What it says *****


@both_devices
def test_a_compile_error_is_on_the_authors_line(target: Target) -> None:
    error = refused(bundle(SCALE.replace("*= 2", "*= yy")), target)
    assert error.code == "compile_error"
    assert error.where is not None
    assert error.where.startswith("k.cu:3")
    assert "yy" in error.message
    # The place is said once, and is not `where` again.
    assert "k.cu:3" not in error.message
    assert not [word for word in ("/tmp", "kaas-compile", "/root", "/usr", "/home") if word in str(error)]


@both_devices
def test_an_error_in_a_header_names_the_header(target: Target) -> None:
    error = refused(bundle('#include "lib/util.h"\n' + SCALE, **{"lib/util.h": "\nint broken = ;\n"}), target)
    assert error.where is not None
    assert error.where.startswith("lib/util.h:2")


@both_devices
def test_an_error_in_a_source_inside_the_manifest_is_on_the_manifests_line(target: Target) -> None:
    manifest = MANIFEST.format(kernel="scale", source="|\n" + "".join(f"      {line}\n" for line in SCALE.splitlines()))
    broken = manifest.replace("*= 2", "*= yy")
    error = refused(Bundle.open(broken.encode()), target)
    line = next(number for number, text in enumerate(broken.splitlines(), 1) if "yy" in text)
    assert error.where is not None
    assert error.where.startswith(f"kaas.yaml:{line}")
    assert one(Bundle.open(manifest.encode()), target).image[:4] == b"\x7fELF"


def test_a_missing_kernel_is_answered_with_the_nearest() -> None:
    error = refused(bundle(SCALE, "scales"))
    assert (error.code, error.where) == ("kernel_not_found", "kaas.yaml:7 graph[0].kernel")
    assert error.message == "k.cu has no kernel 'scales'"
    assert error.hint == "did you mean 'scale'?"


def test_a_source_without_kernels_says_so() -> None:
    error = refused(bundle("int x;\n"))
    assert error.code == "kernel_not_found"
    assert "__global__" in str(error.hint)


def test_a_template_without_arguments_says_how_to_write_it() -> None:
    error = refused(bundle(NAMES, "f"))
    assert error.code == "kernel_not_found"
    assert "space::f<float>" in str(error.hint)


@both_devices
def test_an_ambiguous_kernel_lists_the_candidates(target: Target) -> None:
    error = refused(
        bundle("namespace a { __global__ void k(int *x) {} }\nnamespace b { __global__ void k(int *x) {} }\n", "k"),
        target,
    )
    assert error.code == "kernel_not_found"
    assert "a::k(int*) in line 1" in error.message
    assert "b::k(int*) in line 2" in error.message


# ***** What it cannot see *****


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text("TOPSECRET is not a type\n")
    return path


@needs_landlock
@both_devices
@pytest.mark.parametrize(
    "how", ['#include "{path}"', '#define P "{path}"\n#include P', "#include <{path}>", "#include_next <{path}>"]
)
def test_including_an_absolute_path_reads_nothing(target: Target, secret: Path, how: str) -> None:
    error = refused(bundle(how.format(path=secret) + "\n" + SCALE), target)
    assert error.code == "compile_error"
    assert "TOPSECRET" not in str(error)


@needs_landlock
@both_devices
@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/proc/self/environ", "/proc/1/environ", "../../../../../../etc/passwd"]
)
def test_system_files_are_not_there(target: Target, path: str) -> None:
    error = refused(bundle(f'#include "{path}"\n' + SCALE), target)
    assert error.code == "compile_error"
    assert not [word for word in ("root:", "/bin/", "HOME=", "PATH=") if word in str(error)]
    assert "the bundle's own files" in str(error.hint)


@needs_landlock
def test_including_this_programs_own_code_reads_nothing() -> None:
    error = refused(bundle(f'#include "{kaas_pool.__file__}"\n' + SCALE))
    assert error.code == "compile_error"
    assert Path(str(kaas_pool.__file__)).read_text()[:20] not in str(error)


@needs_landlock
def test_line_directives_do_not_quote_other_files(secret: Path) -> None:
    error = refused(bundle(f'# 1 "{secret}"\nint broken = ;\n' + SCALE))
    assert "TOPSECRET" not in str(error)


@needs_landlock
def test_incbin_reads_nothing(secret: Path) -> None:
    source = f'asm(".data\\n.global leak\\nleak: .incbin \\"{secret}\\"\\n.text");\n' + SCALE
    error = refused(bundle(source))
    assert error.code == "compile_error"
    assert "TOPSECRET" not in str(error)


@needs_landlock
@both_devices
def test_asking_for_a_file_reads_nothing(target: Target, secret: Path) -> None:
    error = refused(bundle(f'#if __has_include("{secret}")\n#include "{secret}"\n#endif\n' + SCALE), target)
    assert error.code == "compile_error"
    assert "TOPSECRET" not in str(error)


@both_devices
def test_the_manifest_is_not_there(target: Target) -> None:
    error = refused(bundle('#include "kaas.yaml"\n' + SCALE), target)
    assert error.code == "compile_error"
    assert "float32" not in str(error)


def test_secrets_in_the_environment_do_not_reach_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAAS_TOKEN", "TOPSECRET")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "TOPSECRET")
    assert "TOPSECRET" not in environment().values()
    assert one(bundle(SCALE)).image[:4] == b"\x7fELF"


# ***** Its limits *****

SMALL = Limits(cpu_seconds=3, address_bytes=600 << 20, file_bytes=8 << 20)

#: Doubles the number of types at each depth.
BOMB = """
template <typename A, typename B> struct pair {{}};
template <int D, typename T> struct bomb {{ bomb<D - 1, pair<T, int>> a; bomb<D - 1, pair<int, T>> b; }};
template <typename T> struct bomb<0, T> {{}};
bomb<{depth}, int> boom;
"""


@both_devices
def test_a_bomb_of_templates_ends_at_a_limit(target: Target) -> None:
    limits = Limits(SMALL.cpu_seconds, 4 << 30, SMALL.file_bytes)
    error = refused(bundle(BOMB.format(depth=40) + SCALE), target, limits)
    assert error.code == "compile_limit", str(error)
    assert error.where == "k.cu"


@both_devices
def test_a_bomb_of_macros_ends_at_a_limit(target: Target) -> None:
    laughs = '#define A0 "sixteen letters."\n' + "".join(f"#define A{n + 1} A{n} A{n}\n" for n in range(30))
    error = refused(bundle(laughs + "const char *a = A30;\n" + SCALE), target, Limits(20, 400 << 20, 8 << 20))
    assert error.code == "compile_limit", str(error)


def test_endless_recursion_is_the_compilers_own_error() -> None:
    endless = "template <int N> struct endless { static const int v = endless<N + 1>::v; };\nint e = endless<0>::v;\n"
    error = refused(bundle(endless + SCALE), EMULATED, SMALL)
    assert error.code in ("compile_error", "compile_limit")
    assert len(error.message) < 64 << 10


def test_an_image_that_is_too_large() -> None:
    error = refused(bundle("__device__ char big[32 << 20] = {1};\n" + SCALE), EMULATED, SMALL)
    assert error.code == "compile_limit", str(error)


def test_a_flood_of_messages_is_cut() -> None:
    flood = "".join(f"int a{number} = nothing{number};\n" for number in range(3000))
    error = refused(bundle(flood + SCALE), EMULATED)
    assert error.code == "compile_error"
    assert len(error.message.splitlines()) <= 60
