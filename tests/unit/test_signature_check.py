"""Arguments that do not fit a kernel are refused with the place and a way out; those that fit are not."""

from __future__ import annotations

import pytest
from plan_cases import HEAD, manifest_of, signatures_of

from kaas.errors import KaasError
from kaas.manifest import Manifest
from kaas_pool.compiler.signatures import KernelParam, KernelSignature
from kaas_pool.signature_check import Signatures, check_signatures, kind_of, size_of


def check(kernel: str, args: str, head: str = HEAD) -> None:
    manifest = manifest_of(f"  - {{kernel: '{kernel}', source: a.cu, grid: [1], block: [1], args: [{args}]}}", head)
    check_signatures(manifest, signatures_of(manifest))


@pytest.mark.parametrize(
    ("kernel", "args"),
    [
        ("axpy", "a, x, z, int32(n)"),
        ("axpy", "a, null, z, uint32(n)"),
        ("axpy", "float32(1 / n), c, y, k"),
        ("mixed", "uint8(1), float64(n), int16(1), x, bool(1), int64(n)"),
        ("nothing", ""),
        ("scale<float,4>", "a, x"),
        ("scale<double,4>", "float64(1), x"),
    ],
)
def test_what_fits_passes(kernel: str, args: str) -> None:
    check(kernel, args)


@pytest.mark.parametrize(
    ("kernel", "args", "position", "message", "hint"),
    [
        ("axpy", "a, x, z", "args", "takes 4 arguments, and the step gives 3", "'float a', 'const float\\* x'"),
        ("nothing", "x", "args", "takes 0 arguments, and the step gives 1", "takes nothing"),
        ("axpy", "a, x, z, int64(n)", "args[3]", "does not take int64\\(n\\), which is int64", "int32 or uint32"),
        ("axpy", "a, x, z, float32(n)", "args[3]", "which is float32", "int32 or uint32"),
        ("axpy", "float64(1), x, z, k", "args[0]", "which is float64", "give it float32"),
        ("axpy", "k, x, z, k", "args[0]", "parameter k, which is int32", "give it float32"),
        ("axpy", "x, x, z, k", "args[0]", "is no pointer, and the step gives the buffer x", "int32"),
        ("axpy", "null, x, z, k", "args[0]", "is no pointer, and the step gives null", ""),
        ("axpy", "a, int64(n), z, k", "args[1]", "is a pointer", "pass a buffer"),
        ("mixed", "int16(1), float64(n), int16(1), x, bool(1), int64(n)", "args[0]", "which is int16", "int8"),
        ("pair", "float32(1), float64(1), x", "args[0]", "which is float32", "complex64"),
    ],
)
def test_what_does_not_fit_says_where_and_what_to_do(
    kernel: str, args: str, position: str, message: str, hint: str
) -> None:
    with pytest.raises(KaasError, match=message) as caught:
        check(kernel, args)
    assert caught.value.code == "signature_mismatch"
    assert str(caught.value.where).endswith(position)
    if hint:
        with pytest.raises(KaasError, match=hint):
            raise caught.value


def check_declared(args: str, **declared: str) -> None:
    lists = ", ".join(f"{key}: {value}" for key, value in declared.items())
    step = f"kernel: axpy, source: a.cu, grid: [1], block: [1], args: [{args}], {lists}"
    manifest = manifest_of(f"  - {{{step}}}")
    check_signatures(manifest, signatures_of(manifest))


@pytest.mark.parametrize(
    ("args", "reads", "writes"),
    [
        ("a, x, z, k", "[x]", "[z]"),
        ("a, x, z, k", "[x, z]", "[z]"),
        ("a, z, z, k", "[]", "[z]"),
        ("a, null, z, k", "[]", "[z]"),
    ],
)
def test_what_is_declared_and_possible_passes(args: str, reads: str, writes: str) -> None:
    check_declared(args, reads=reads, writes=writes)


@pytest.mark.parametrize(
    ("reads", "writes", "position", "message", "hint"),
    [
        (
            "[z]",
            "[x, z]",
            "args[1]",
            "'const float\\* x' cannot be written through, and writes names x",
            "out of writes",
        ),
        ("[x, z]", "[]", "args[2]", "'float\\* y' may be written through, and writes does not name z", "`const`"),
    ],
)
def test_what_is_declared_against_the_signature_is_refused(
    reads: str, writes: str, position: str, message: str, hint: str
) -> None:
    with pytest.raises(KaasError, match=message) as caught:
        check_declared("a, x, z, k", reads=reads, writes=writes)
    assert caught.value.code == "signature_mismatch"
    assert str(caught.value.where).endswith(position)
    assert hint in str(caught.value.hint)


def cubin_signatures(manifest: Manifest, sizes: tuple[int, ...] | None) -> Signatures:
    """What a cubin tells of the first step's kernel."""
    (step,) = manifest.kernel_steps
    parameters = tuple(KernelParam(None, "", False, False, size) for size in sizes or ())
    signature = KernelSignature(step.kernel, True, parameters, "a.cubin", 0, symbol="axpy", is_told=sizes is not None)
    return {(step.source, step.kernel): signature}


COMPILED = (
    "  - {kernel: axpy, cubins: {sm_90: a.cubin}, grid: [1], block: [1], args: [a, x, z, int32(n), null], "
    "reads: [x], writes: [z]}"
)


@pytest.mark.parametrize("sizes", [(4, 8, 8, 4, 8), None])
def test_arguments_are_compared_with_a_cubins_sizes(sizes: tuple[int, ...] | None) -> None:
    manifest = manifest_of(COMPILED)
    check_signatures(manifest, cubin_signatures(manifest, sizes))


@pytest.mark.parametrize(
    ("sizes", "position", "message"),
    [
        ((4, 8, 8, 4), "args", "takes 4 arguments, and the step gives 5"),
        ((8, 8, 8, 4, 8), "args[0]", "of 8 bytes does not take parameter a, which is float32 and has 4"),
        ((4, 4, 8, 4, 8), "args[1]", "of 4 bytes does not take the buffer x, whose address has 8"),
        ((4, 8, 8, 8, 8), "args[3]", r"of 8 bytes does not take int32\(n\), which has 4"),
        ((4, 8, 8, 4, 4), "args[4]", "of 4 bytes does not take null"),
    ],
)
def test_what_does_not_fit_a_cubin_is_refused(sizes: tuple[int, ...], position: str, message: str) -> None:
    manifest = manifest_of(COMPILED)
    with pytest.raises(KaasError, match=message) as caught:
        check_signatures(manifest, cubin_signatures(manifest, sizes))
    assert str(caught.value.where).endswith(position)


@pytest.mark.parametrize(
    ("dtype", "fits"),
    [
        ("float32", True),
        ("float64", False),
        ("int32", False),
        ("int64", False),
        ("uint8", True),
        ("complex64", True),
        ("complex128", False),
    ],
)
def test_a_buffers_element_type_is_compared_with_the_pointers(dtype: str, fits: bool) -> None:
    head = HEAD.replace("x: {io: in, dtype: float32", f"x: {{io: in, dtype: {dtype}")
    if fits:
        check("axpy", "a, x, z, k", head)
    else:
        with pytest.raises(KaasError, match=f"points to float, and x is an array of {dtype}"):
            check("axpy", "a, x, z, k", head)


def test_vectors_are_views_of_their_elements() -> None:
    head = HEAD.replace("a: {type: float32, default: 2}", "a: {type: complex64, default: 2}").replace(
        "k: {type: int32, default: 3}", "k: {type: complex128, default: 3}"
    )
    check("pair", "a, k, x", head)


@pytest.mark.parametrize(
    ("text", "kind", "size"),
    [
        ("const float", "float", 4),
        ("unsigned long long", "integer", 8),
        ("long int", "integer", 8),
        ("unsigned", "integer", 4),
        ("unsigned short int", "integer", 2),
        ("signed char", "integer", 1),
        ("std::uint16_t", "integer", 2),
        ("size_t", "integer", 8),
        ("ulong", "integer", 8),
        ("uchar", "integer", 1),
        ("__half", "float", 2),
        ("float4", "vector", None),
        ("T", "unknown", None),
        ("interval", "unknown", None),
    ],
)
def test_types_are_known_by_their_text(text: str, kind: str, size: int | None) -> None:
    assert (kind_of(text), size_of(text)) == (kind, size)
