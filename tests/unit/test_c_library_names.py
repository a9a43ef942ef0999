"""The device language beside a C library that has C23's functions, whose names CUDA has, too (glibc 2.41 and 2.42)."""

from pathlib import Path

from kaas_emulator import compiler, sources

NAMES = ("acospi", "asinpi", "atanpi", "cospi", "sinpi", "tanpi", "rsqrt", "exp10m1", "exp2m1", "log2p1")

# As glibc declares them: extern "C", and they do not throw.
DECLARED = "".join(
    f'extern "C" {kind} {name}{suffix}({kind}) noexcept(true);\n'
    for name in NAMES
    for kind, suffix in (("double", ""), ("float", "f"))
)


def test_it_compiles_where_the_c_library_declares_c23(tmp_path: Path) -> None:
    (tmp_path / "math.h").write_text(f"#include_next <math.h>\n{DECLARED}")
    source = tmp_path / "kernel.cpp"
    source.write_text(
        '#include "kaas_device.h"\n'
        "float single(float x) { return sinpi(x) + cospi(x) + rsqrt(x) + sinpif(x) + cospif(x) + rsqrtf(x); }\n"
        "double both(double x) { return sinpi(x) + cospi(x) + rsqrt(x); }\n"
    )
    command = [compiler.compiler(), "-std=gnu++17", "-w", "-fsyntax-only", f"-I{tmp_path}"]
    done = compiler.run([*command, f"-I{sources.include_directory()}", str(source)], tmp_path)
    assert done.returncode == 0, done.stderr
