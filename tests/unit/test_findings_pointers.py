"""What a kernel's text proves about its pointers, and all that proves nothing."""

from __future__ import annotations

import pytest

from kaas_pool.compiler.signatures import read_signatures
from kaas_pool.findings.pointers import Pointers, read_pointers

READ = {0: (False, True)}
WRITTEN = {0: (True, False)}
BOTH: Pointers = {}


def proven(body: str, *, before: str = "", params: str = "float *x, const float *y, int n") -> Pointers:
    text = f'{before}\nextern "C" __global__ void k({params}) {{\n{body}\n}}\n'
    (signature,) = read_signatures(text)
    return read_pointers(text, signature)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # Written and not read.
        ("if (n) x[n] = y[n];", WRITTEN),
        ("for (int i = 0; i < n; ++i) x[i] = 0;", WRITTEN),
        ("x[0] = x[1] = 3;", WRITTEN),
        ("x[n][1] = 3;", WRITTEN),
        ("x[n].a = 2;", WRITTEN),
        ("if (n) x[0] = 1; else x[1] = 2;", WRITTEN),
        # Read and not written.
        ("float v = x[n];", READ),
        ("float v = x[n] * 2;", READ),
        ("float v = fmaxf(x[n], 0.0f);", READ),
        ("float v = n ? x[n] : 0;", READ),
        ("if (x[n] < 2) return;", READ),
        ("bool b = x[n] <= 2;", READ),
        ("bool b = x[n] == y[n];", READ),
        ("int v = y[(int)x[n]];", BOTH),
        ("float v = y[x[n]];", READ),
        ("return x[n];", READ),
        # Read and written.
        ("x[n] += 1;", BOTH),
        ("x[n] <<= 2;", BOTH),
        ("x[n]++;", BOTH),
        ("++x[n];", BOTH),
        ("x[n] = x[n + 1] * 2;", BOTH),
        ("if (n < 3) z = x[n]; else x[n] = 3;", BOTH),
        # Nothing can be told.
        ("float &v = x[n]; v = 1;", BOTH),
        ("auto v{x[n]};", BOTH),
        ("atomicAdd(&x[n], 1.0f);", BOTH),
        ("float *q = x + 1; *q = 0;", BOTH),
        ("*x = 3;", BOTH),
        ("f(x);", BOTH),
        ("f(x[n]);", BOTH),
        ("f(1, x[n]);", BOTH),
        ("(x[n]) = 2;", BOTH),
        ('asm("st.global.f32 [%0], 1;" : "=f"(x[n]));', BOTH),
        ("float x[4]; x[0] = 1;", BOTH),
        ("s.x[n] = 3; p->x[n] = 3; a::x[n] = 3;", BOTH),
        ("return;", BOTH),
    ],
)
def test_what_the_text_proves(body: str, expected: Pointers) -> None:
    assert proven(body) == expected


def test_a_macro_that_knows_the_name_proves_nothing() -> None:
    assert proven("SET; float v = x[n];", before="#define SET x[n] = 3") == BOTH
    assert proven("SET; float v = x[n];", before="#define SET \\\n  x[n] = 3") == BOTH
    assert proven("float v = x[n];", before="#define N 3") == READ


def test_each_pointer_for_itself() -> None:
    params = "float *a, float *b, const float *c, float *d, int n"
    assert proven("a[n] = b[n] + c[n]; f(d);", params=params) == {0: (True, False), 1: (False, True)}


def test_the_body_is_that_of_the_kernel() -> None:
    text = 'extern "C" __global__ void k(float *x);\n__global__ void l(float *x) { x[0] = 1; }\n' + (
        'extern "C" __global__ void k(float *x) { float v = x[0]; }\n'
    )
    k, l_ = read_signatures(text)
    assert read_pointers(text, k) == READ
    assert read_pointers(text, l_) == WRITTEN


def test_a_source_inside_the_manifest_begins_at_its_line() -> None:
    text = 'extern "C" __global__ void k(float *x) {\n  x[0] = 1;\n}\n'
    (signature,) = read_signatures(f'#line 20 "kaas.yaml"\n{text}')
    assert signature.line == 20
    assert read_pointers(text, signature, 20) == WRITTEN
    assert read_pointers("", signature, 20) == {}
