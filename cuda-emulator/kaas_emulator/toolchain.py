"""From a CUDA source to an image that the emulated driver loads: two runs of the host's compiler.

Everything here works in a process that can read the compiler, these headers and the cache, and write only to the work
directory it is given. Importing it is cheap.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from kaas_emulator import cache, compiler, device_source, messages, resources, settings, sources
from kaas_emulator.errors import CompileFailed, EmulatorError
from kaas_emulator.refusals import refusals

#: What CUDA promises and what it does not, in the host compiler's words: multiplications and additions are fused as by
#: default on a GPU; no errno, no floating-point traps; types may be punned, which nvcc lets pass.
_LANGUAGE = (
    "-std=gnu++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
    "-fno-strict-aliasing", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics",
)  # fmt: skip

#: How the image is made: local symbols stay local, so that equally named things of two images stay apart.
_CODE = (
    "-fPIC", "-mtls-dialect=gnu2", "-fno-semantic-interposition", "-fno-gnu-unique", "-fno-plt", "-fno-stack-protector",
    "-fcf-protection=none", "-fno-asynchronous-unwind-tables", "-w",
    # Line tables, from which the driver tells where a kernel faulted; the code stays the same.
    "-gdwarf-4", "-g1", "-gstatement-frontiers",
)  # fmt: skip

_LINK = ("-shared", "-Wl,-Bsymbolic", "-Wl,-z,now", "-Wl,-z,defs", "-Wl,--as-needed", "-Wl,--build-id=none", "-lm")

#: For the checked mode: every access calls a function of include/kaas_device/checked.h first, and so do copies and
#: fills, which the compiler must not do by itself for that. Only device memory is looked at, so that what the compiler
#: could do about the host's (the stack, variables) is off.
_CHECKS = (
    "-fsanitize=kernel-address", "--param=asan-instrumentation-with-call-threshold=0", "--param=asan-stack=0",
    "--param=asan-globals=0", "-fno-sanitize-address-use-after-scope", "-fno-optimize-sibling-calls",
    "-fno-builtin-memcpy", "-fno-builtin-memmove", "-fno-builtin-memset", "-U_FORTIFY_SOURCE", "-DKAAS_CHECKED",
    # What is moved out of a loop loses its line; the loop over a block's threads is around every kernel. So does what
    # is done once for several places of the source.
    "-fno-tree-loop-im", "-fno-tree-pre", "-fno-code-hoisting", "-fno-tree-tail-merge", "-fno-crossjumping",
)  # fmt: skip
_CHECKED_CALLS = tuple(
    f"-Wl,--wrap={name}"
    for name in (
        "memcpy", "memmove", "memset",
        *(name + suffix for name in ("frexp", "modf", "remquo", "sincos") for suffix in ("", "f")),
    )
)  # fmt: skip

_MESSAGES = (
    "-fno-diagnostics-show-caret", "-fno-show-column", "-fdiagnostics-color=never", "-fmessage-length=0",
    "-fmax-errors=50",
)  # fmt: skip

#: A compute capability stands in for the device's, which the compiler need not know.
_DEFINES = ("-D__CUDA_ARCH__=900",)

_PREFIX = device_source.PREFIX


def _code() -> tuple[str, ...]:
    return (*_LANGUAGE, *_CODE, *_CHECKS) if settings.checked() else (*_LANGUAGE, *_CODE)


def _link() -> tuple[str, ...]:
    return (*_LINK, *_CHECKED_CALLS) if settings.checked() else _LINK


def fingerprint() -> str:
    """Names what an image depends on besides its source: headers, compiler, flags, the processor's instructions.

    Raises EmulatorError.
    """
    return _fingerprint((*_code(), *_link(), *_DEFINES), sources.stamp([sources.include_directory()]))


@functools.lru_cache(maxsize=2)
def _fingerprint(flags: tuple[str, ...], _stamp: sources.Stamp) -> str:
    return sources.digest(
        [sources.include_directory()],
        compiler.version(),
        compiler.instruction_set(),
        " ".join(flags),
        *_own_code(),
    )


@functools.lru_cache(maxsize=1)
def _own_code() -> tuple[str, ...]:
    """Known from the first time on, since what is confined can read the headers alone."""
    return tuple(hashlib.sha256(Path(str(one.__file__)).read_bytes()).hexdigest() for one in (device_source, resources))


def _prefix_name() -> str:
    # With the headers' own place: messages about what was precompiled name the files it was made from.
    place = hashlib.sha256(str(sources.include_directory()).encode()).hexdigest()[:8]
    return f"emulator/device-{fingerprint()}-{place}"


def build_prefix() -> Path:
    """The directory in the cache with the device language precompiled; built first where it is missing.

    It saves 0.4 s of each compilation. Raises EmulatorError.
    """

    def build(directory: Path) -> None:
        header = directory / _PREFIX
        header.write_text(f'#include "{sources.include_directory() / _PREFIX}"\n')
        command = [compiler.compiler(), *_code(), *_DEFINES, *_system_includes(), "-x", "c++-header", _PREFIX]
        done = compiler.run([*command, "-o", f"{_PREFIX}.gch"], directory)
        if done.returncode:
            raise EmulatorError(f"the device language does not compile:\n{done.stderr}")

    return cache.obtain(_prefix_name, build, [sources.include_directory()])


def _system_includes() -> tuple[str, ...]:
    include = sources.include_directory()
    return "-isystem", str(include), "-isystem", str(include / "shims")


def _prefix() -> Path:
    precompiled = cache.cache_root() / _prefix_name() / _PREFIX
    return precompiled if precompiled.exists() else sources.include_directory() / _PREFIX


def _relative(path: Path, workdir: Path) -> str:
    return os.path.relpath(path, workdir)


def _preprocess(source: Path, includes: Sequence[Path], defines: Mapping[str, str], workdir: Path) -> tuple[str, str]:
    name = _relative(source, workdir)
    command = [compiler.compiler(), *_code(), *_DEFINES, *_MESSAGES, "-E", "-fpch-preprocess"]
    command += ["-include", str(_prefix())]
    command += [f"-I{_relative(directory, workdir)}" for directory in includes]
    command += [f"-D{key}={value}" for key, value in defines.items()]
    # To a file and not to a pipe, because a limit on files holds what macros can blow up.
    text = workdir / "kaas-source.ii"
    try:
        done = compiler.run([*command, *_system_includes(), "-x", "c++", name, "-o", text.name], workdir)
        if done.returncode:
            raise CompileFailed(messages.readable(done.stderr, workdir))
        return device_source.split(text.read_text("utf-8", errors="surrogateescape"), name)
    finally:
        text.unlink(missing_ok=True)


def preprocess(source: Path, *, includes: Sequence[Path], defines: Mapping[str, str], workdir: Path) -> str:
    """The preprocessed text of a CUDA source with line markers, without the device language that goes before it.

    ``__global__`` and ``__shared__`` are left as they are. Raises CompileFailed, EmulatorError.
    """
    return _preprocess(source, includes, defines, workdir)[1]


def compile_image(
    source: Path,
    kernels: Sequence[str],
    *,
    includes: Sequence[Path],
    defines: Mapping[str, str],
    workdir: Path,
) -> bytes:
    """The image of a CUDA source: a shared object that cuModuleLoadData of the emulated driver takes.

    ``kernels`` are the kernels it can launch, as C++ names them (``saxpy``, ``space::f<float, 256>``); the driver finds
    them under these names and under their symbols. Temporary files go to ``workdir``. Raises CompileFailed with the
    compiler's lines, EmulatorError where there is no compiler.
    """
    prefix, text = _preprocess(source, includes, defines, workdir)
    refused = messages.refused(refusals(text), workdir)
    if refused:
        raise CompileFailed(refused)
    host_source, assembly, image = (workdir / f"kaas-image.{ending}" for ending in ("ii", "s", "so"))
    try:
        host_source.write_text(prefix + device_source.to_host_source(text, kernels), "utf-8", errors="surrogateescape")
        command = [compiler.compiler(), *_code(), *_MESSAGES, "-fpreprocessed", "-x", "c++", host_source.name]
        _run([*command, "-S", "-o", assembly.name], workdir)
        found = resources.read(assembly.read_text("utf-8", errors="replace"), len(kernels))
        too_much = resources.over_limit(kernels, found)
        if too_much:
            raise CompileFailed(too_much)
        with assembly.open("a") as file:
            file.write(resources.section(found))
        _run([compiler.compiler(), assembly.name, *_link(), "-o", image.name], workdir)
        content = image.read_bytes()
        if not resources.are_told(found, content):
            raise CompileFailed(resources.NOT_AS_WRITTEN)
        return content
    finally:
        for path in (host_source, assembly, image):
            path.unlink(missing_ok=True)


def _run(command: Sequence[str], workdir: Path) -> None:
    done = compiler.run(command, workdir)
    if done.returncode:
        raise CompileFailed(messages.readable(done.stderr, workdir))
