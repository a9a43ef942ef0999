"""The reader of kernel signatures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaas_pool.compiler.signatures import KernelParam, KernelSignature, candidates, read_signatures


def one(text: str) -> KernelSignature:
    (signature,) = read_signatures(text)
    return signature


def parameter(text: str) -> KernelParam:
    (found,) = one(f"__global__ void k({text}) {{}}").parameters
    return found


def test_a_plain_kernel() -> None:
    signature = one(
        '# 1 "saxpy.cu"\n\n'
        'extern "C" __global__ void saxpy(float a, const float* __restrict__ x, float* y, int n) {\n'
        "    if (a < n) y[0] = x[0];\n}\n"
    )
    assert (signature.name, signature.extern_c, signature.symbol) == ("saxpy", True, "saxpy")
    assert (signature.file, signature.line, signature.template) == ("saxpy.cu", 2, False)
    assert [(p.name, p.type) for p in signature.parameters] == [
        ("a", "float"),
        ("x", "const float*"),
        ("y", "float*"),
        ("n", "int"),
    ]
    assert [p.writes for p in signature.parameters] == [False, False, True, False]
    assert [p.size_bytes for p in signature.parameters] == [4, 8, 8, 4]


@pytest.mark.parametrize(
    ("text", "name", "type_", "pointer", "const", "size"),
    [
        ("int n", "n", "int", False, False, 4),
        ("int", None, "int", False, False, 4),
        ("unsigned n", "n", "unsigned", False, False, 4),
        ("const unsigned long long n", "n", "const unsigned long long", False, False, 8),
        ("signed char c", "c", "signed char", False, False, 1),
        ("unsigned short int c", "c", "unsigned short int", False, False, 2),
        ("long double x", "x", "long double", False, False, None),
        ("std::size_t n", "n", "std::size_t", False, False, 8),
        ("uint8_t b", "b", "uint8_t", False, False, 1),
        ("float4 v", "v", "float4", False, False, 16),
        ("double3 v", "v", "double3", False, False, 24),
        ("__half h", "h", "__half", False, False, 2),
        ("const float *x", "x", "const float*", True, True, 8),
        ("float const * x", "x", "float const*", True, True, 8),
        ("float * const x", "x", "float* const", True, False, 8),
        ("const float * const __restrict__ x", "x", "const float* const", True, True, 8),
        ("float *", None, "float*", True, False, 8),
        ("volatile int *flag", "flag", "int*", True, False, 8),
        ("const float** x", "x", "const float**", True, False, 8),
        ("float* const* x", "x", "float* const*", True, True, 8),
        ("const float x[]", "x", "const float*", True, True, 8),
        ("float x[16][4]", "x", "float*", True, False, 8),
        ("float (*x)[4]", "x", "float*", True, False, 8),
        ("const std::pair<int, const float*>* p", "p", "const std::pair<int, const float*>*", True, True, 8),
        ("std::pair<const int*, float>* p", "p", "std::pair<const int*, float>*", True, False, 8),
        ("space::Type value", "value", "space::Type", False, False, None),
        ("struct Grid grid", "grid", "struct Grid", False, False, None),
        ("struct Grid", None, "struct Grid", False, False, None),
        ("vector_ptr p", "p", "vector_ptr", False, False, None),
        ("int n = 4", "n", "int", False, False, 4),
        ('const char* text = "a, b) {"', "text", "const char*", True, True, 8),
        ("int n = f(1, (2 < 3))", "n", "int", False, False, 4),
        ("[[maybe_unused]] int n", "n", "int", False, False, 4),
        ("__attribute__((unused)) float* x", "x", "float*", True, False, 8),
        ("const __grid_constant__ Options options", "options", "const Options", False, False, None),
    ],
)
def test_parameters(text: str, name: str | None, type_: str, pointer: bool, const: bool, size: int | None) -> None:
    assert parameter(text) == KernelParam(name, type_, pointer, const, size)


def test_what_may_be_a_pointer_counts_as_written() -> None:
    assert parameter("vector_ptr p").writes
    assert not parameter("int n").writes


@pytest.mark.parametrize(
    "head",
    [
        "__global__ void k",
        "void __global__ k",
        "static __global__ void k",
        "__global__ static inline void k",
        "__global__ void __launch_bounds__(256) k",
        "__global__ __launch_bounds__(32 * (4 + 4), 2) void k",
        "__launch_bounds__(256) __global__ void k",
        "__attribute__((global)) void k",
        "__attribute__((__global__)) void __attribute__((launch_bounds(256))) k",
        "extern __global__ void k",
    ],
)
def test_heads(head: str) -> None:
    signature = one(f"int before; {head}(float* x) {{ x[0] = 1; }}")
    assert (signature.name, signature.extern_c) == ("k", False)
    assert [p.name for p in signature.parameters] == ["x"]


@pytest.mark.parametrize("parameters", ["", "void", " "])
def test_no_parameters(parameters: str) -> None:
    assert one(f"__global__ void k({parameters}) {{}}").parameters == ()


def test_where_kernels_are() -> None:
    text = """
namespace outer { namespace inner { __global__ void a(int x) {} } }
namespace one::two { __global__ void b(int x) {} }
namespace { __global__ void c(int x) {} }
inline namespace v1 { __global__ void d(int x) {} }
extern "C" { __global__ void e(int x) {} namespace ignored { } }
extern "C++" { __global__ void f(int x) {} }
struct S { void method() { if (1) { } } };
__global__ void g(int x) {}
"""
    found = read_signatures(text)
    assert [(s.name, s.extern_c) for s in found] == [
        ("outer::inner::a", False),
        ("one::two::b", False),
        ("c", False),
        ("v1::d", False),
        ("e", True),
        ("f", False),
        ("g", False),
    ]


def test_templates() -> None:
    text = """
template <typename T, int N = (3 > 2)> __global__ void f(T* x, int n = N) {}
template <> __global__ void f<double, 4>(double* x, int n) {}
template __global__ void f<float, 256>(float*, int);
template <class T> struct A { };
__global__ void g(A<int> a) {}
"""
    assert [(s.name, s.template) for s in read_signatures(text)] == [
        ("f", True),
        ("f<double, 4>", False),
        ("g", False),
    ]


def test_declarations_count_once() -> None:
    text = '# 1 "a.cu"\n__global__ void f(int*);\n__global__ void g(int*);\n__global__ void f(int* x) {}\n'
    assert [(s.name, s.line, s.parameters[0].name) for s in read_signatures(text)] == [("f", 3, "x"), ("g", 2, None)]


def test_overloads_are_apart() -> None:
    text = "__global__ void f(int* x) {} __global__ void f(float* x) {}"
    assert [s.parameters[0].type for s in read_signatures(text)] == ["int*", "float*"]


def test_text_is_no_code() -> None:
    text = r"""
// __global__ void a(int x) {}
/* __global__ void b(int x) {} */
const char* s = "__global__ void c(int x) {}";
const char* r = R"x( __global__ void d(int x) {} )" )x";
const char q = '"';
__global__ void e(int x /* , int y */) {}
"""
    assert [s.name for s in read_signatures(text)] == ["e"]


def test_places_follow_the_markers() -> None:
    text = (
        '# 1 "main.cu"\n# 1 "lib/part.h" 1\n\n__global__ void a(int x)\n{\n}\n'
        '# 7 "main.cu" 2\n__global__\nvoid\nb(int x) {}\n#line 50\n__global__ void c(int x) {}\n'
        '#line 3 "kaas.yaml"\n__global__ void d(int x) {}\n'
    )
    assert [(s.name, s.file, s.line) for s in read_signatures(text)] == [
        ("a", "lib/part.h", 2),
        ("b", "main.cu", 9),
        ("c", "main.cu", 50),
        ("d", "kaas.yaml", 3),
    ]


def test_json() -> None:
    signature = one("__global__ void k(const float* x, int n) {}").with_symbol("_Z1kPKfi")
    assert KernelSignature.from_json(signature.to_json()) == signature


def test_candidates() -> None:
    found = read_signatures(
        "namespace a { __global__ void f(int*) {} __global__ void g(int*) {} }"
        "namespace b { __global__ void f(int*) {} }"
        "template <class T, int N> __global__ void t(T*) {}"
        "template <> __global__ void t<float, 8>(float*) {}"
        'extern "C" __global__ void h(int*) {} __global__ void o(int*) {} __global__ void o(float*) {}'
    )

    def names(wanted: str) -> list[str]:
        return [signature.name for signature in candidates(found, wanted)]

    assert names("h") == ["h"]
    assert names("g") == ["a::g"]
    assert names("a::f") == ["a::f"]
    assert names("f") == ["a::f", "b::f"]
    assert names("t<float, 256>") == ["t"]
    assert names("t<float,8>") == ["t<float, 8>"]
    assert names("t") == []
    assert names("o") == ["o", "o"]
    assert names("absent") == []


@given(st.text(alphabet="{}()<>;,*&=\"'/\\#\n :[]abc_0 ", max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    read_signatures(text)
    read_signatures(f"__global__ void k({text}")
    signatures = read_signatures("__global__ void first(int* x) {}\n" + text)
    assert signatures[0].name == "first"
