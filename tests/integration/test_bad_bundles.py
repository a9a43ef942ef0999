"""Broken bundles, at the pool and at the action proxy: what is said, what is not kept, and that the next one works."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import secrets
import stat
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_process import SAXPY, Reply
from pool_calls import assert_serves, check_error, keys, put, refused
from pool_process import PoolProcess
from proxy_process import ProxyProcess
from seaweed import S3Client

from kaas.errors import ERRORS

MANIFEST = """\
kaas: 1
name: scale
params:
  a: {type: float32, default: 2.0}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - kernel: scale
    source: src/scale.cu
    threads: [n]
    block: [64]
    args: [a, x, z, int32(n)]
"""
SOURCE = """\
extern "C" __global__ void scale(float a, const float *x, float *z, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[i] = a * x[i];
}
"""


def zipped(files: dict[str, str | bytes], mode: int = stat.S_IFREG | 0o644) -> bytes:
    """A zip of exactly these names; `mode` is that of the last one."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for position, (name, content) in enumerate(files.items(), 1):
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (mode if position == len(files) else stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, content)
    return packed.getvalue()


def bundle(source: str, **more: str) -> bytes:
    """A good bundle around a source."""
    return zipped({"kaas.yaml": MANIFEST, "src/scale.cu": source, **more})


def edited(old: str, new: str) -> bytes:
    """A bundle whose manifest differs."""
    assert MANIFEST.count(old) == 1
    return zipped({"kaas.yaml": MANIFEST.replace(old, new), "src/scale.cu": SOURCE})


def upload(pool: PoolProcess, data: bytes) -> Reply:
    """PUT it under its digest."""
    return pool.client().request("PUT", f"/v1/bundles/sha256:{hashlib.sha256(data).hexdigest()}", data)


def kept(pool: PoolProcess) -> set[str]:
    """What the pool holds on disk of bundles and images, drafts included."""
    return {str(path) for folder in ("bundles", "images") for path in (pool.state / folder).rglob("*")}


@pytest.fixture(scope="module")
def proxy(gated_pool: PoolProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """A proxy that is never initialised: every `/init` here is refused, but for the last."""
    environment = {"KAAS_POOL_URL": f"http://127.0.0.1:{gated_pool.port}", "KAAS_TOKEN": "alice-token"}
    with ProxyProcess(tmp_path_factory.mktemp("proxy"), environment) as running:
        yield running


BROKEN = {
    "no zip and no text": (b"\x00\x01\x02" * 99, "bundle_invalid", {"message": "neither a zip", "hint": "kaas build"}),
    "a gzip": (gzip.compress(MANIFEST.encode(), mtime=0), "bundle_invalid", {"hint": "make a .zip instead"}),
    "half a zip": (bundle(SOURCE)[:-40], "bundle_invalid", {"message": "cut short", "hint": "zip the folder again"}),
    "a path that leaves": (
        zipped({"kaas.yaml": MANIFEST, "src/scale.cu": SOURCE, "../../evil.h": ""}),
        "bundle_invalid",
        {"message": "'../../evil.h' leaves the bundle", "hint": "relative to its root"},
    ),
    "an absolute path": (
        zipped({"kaas.yaml": MANIFEST, "src/scale.cu": SOURCE, "/tmp/evil.h": ""}),
        "bundle_invalid",
        {"message": "'/tmp/evil.h' is an absolute path", "hint": "relative to its root"},
    ),
    "a link": (
        zipped({"kaas.yaml": MANIFEST, "src/scale.cu": SOURCE, "src/link.h": "/etc/passwd"}, stat.S_IFLNK | 0o777),
        "bundle_invalid",
        {"message": "'src/link.h' is a link", "hint": "plain files"},
    ),
    "a bomb": (
        zipped({"kaas.yaml": MANIFEST, "src/scale.cu": SOURCE, "zeros": bytes(30 << 20)}),
        "bundle_invalid",
        {"message": "unpacks to more than 200 times its size"},
    ),
    "too much": (
        zipped({"kaas.yaml": MANIFEST, **{f"{part}.bin": bytes(1 << 20) for part in range(49)}}),
        "bundle_too_large",
        {"message": "at most", "hint": "object store"},
    ),
    "no kaas.yaml": (
        zipped({"action/kaas.yaml": MANIFEST, "action/src/scale.cu": SOURCE}),
        "manifest_missing",
        {"message": "no kaas.yaml at its root", "hint": "or a zip of its contents"},
    ),
    "no YAML": (edited("kaas: 1", "kaas: [1"), "manifest_invalid", {"where": "kaas.yaml:"}),
    "aliases that multiply": (
        b"a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (new, new, b", ".join([b"*%c" % old] * 10)) for old, new in pairwise(b"abcdef")),
        "manifest_invalid",
        {"message": "more than 100000 values, aliases written out", "where": "kaas.yaml:5"},
    ),
    "an alias inside itself": (
        MANIFEST.replace("[n]", "&s [*s]", 1).encode(),
        "manifest_invalid",
        {"message": "stands inside what it names", "where": "kaas.yaml:6"},
    ),
    "nesting without end": (
        MANIFEST.encode() + b"more: " + b"[" * 100_000,
        "manifest_invalid",
        {"message": "deeper than 32", "where": "kaas.yaml:14"},
    ),
    "a key twice": (
        edited("  z: {io: out", "  x: {io: in, dtype: float32, shape: [n]}\n  z: {io: out"),
        "manifest_invalid",
        {"message": "'x' stands twice", "where": "kaas.yaml:7", "hint": "rename"},
    ),
    "a manifest of megabytes": (
        MANIFEST.encode() + b"# " + b"x" * (1 << 20),
        "manifest_invalid",
        {"message": "at most 1048576", "where": "kaas.yaml"},
    ),
    "an unknown dtype": (
        edited("x: {io: in, dtype: float32", "x: {io: in, dtype: float8"),
        "manifest_invalid",
        {"message": "'float8' is not an element type", "where": "kaas.yaml:6 buffers.x.dtype", "hint": "'float"},
    ),
    "a let that needs itself": (
        edited("graph:", "let: {half: rest // 2, rest: n - half}\ngraph:"),
        "name_unknown",
        {"message": "half needs rest needs half", "where": "kaas.yaml:8 let.half", "hint": "parameters and symbols"},
    ),
    "a block over the limit": (
        edited("block: [64]", "block: [64, 32]"),
        "manifest_invalid",
        {"message": "2048 threads", "where": "kaas.yaml:12 graph[0].block", "hint": "smaller block"},
    ),
    "a division by zero whatever comes": (
        edited("threads: [n]", "grid: [n // 0]"),
        "expression_invalid",
        {"message": "always divides by zero", "where": "kaas.yaml:11 graph[0].grid[0]"},
    ),
    "an unknown key": (
        edited("threads: [n]", "thread: [n]"),
        "unknown_key",
        {"message": "'thread'", "where": "kaas.yaml:11 graph[0].thread", "hint": "did you mean 'threads'?"},
    ),
    "a wrong type": (
        edited("x: {io: in, dtype: float32, shape: [n]}", "x: {io: in, dtype: float32, shape: n}"),
        "manifest_invalid",
        {"message": "must be a list", "where": "kaas.yaml:6 buffers.x.shape", "hint": "[n]"},
    ),
    "a shape that nothing solves": (
        edited("z: {io: out, dtype: float32, shape: [n]}", "z: {io: out, dtype: float32, shape: [m]}"),
        "name_unknown",
        {"message": "'m'", "where": "kaas.yaml:7 buffers.z.shape[0]", "hint": "parameter"},
    ),
    "a reserved name": (
        edited("  a: {type", "  outputs: {type"),
        "name_reserved",
        {"message": "'outputs'", "where": "kaas.yaml:4 params.outputs", "hint": "another name"},
    ),
    "a source that is not there": (
        edited("source: src/scale.cu", "source: src/scale2.cu"),
        "source_missing",
        {"message": "'src/scale2.cu'", "where": "kaas.yaml:10 graph[0].source", "hint": "did you mean 'src/scale.cu'?"},
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_bundle_is_refused_by_pool_and_init_alike(
    gated_pool: PoolProcess, s3: S3Client, proxy: ProxyProcess, name: str
) -> None:
    data, code, texts = BROKEN[name]
    before = kept(gated_pool)
    reply = upload(gated_pool, data)
    refused(reply, code, **texts)
    assert kept(gated_pool) == before
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    refused(gated_pool.client().invoke(digest, {}), "bundle_unknown", hint="PUT")
    proxy.mark()
    status, answer = proxy.init(base64.b64encode(data).decode(), binary=True)
    assert status == ERRORS[code].init
    assert answer == {"error": reply.body["error"]}
    assert proxy.sentinels() == (1, 1)
    assert_serves(gated_pool, s3)


COMPILE_ERRORS = {
    "an undefined name": (
        SOURCE.replace("a * x[i]", "a * y[i]"),
        "compile_error",
        {"where": "src/scale.cu:3", "message": "if (i < n) z[i] = a * y[i];"},
    ),
    "a macro of a header": (
        '#include "near.h"\n' + SOURCE.replace("a * x[i]", "NEAR(a)"),
        "compile_error",
        {"where": "src/scale.cu:4", "message": "'nowhere' was not declared"},
    ),
    "no such kernel": (SOURCE.replace("scale(", "scales("), "kernel_not_found", {"message": "scale", "hint": "scales"}),
    "another signature": (
        SOURCE.replace("float a,", "double a,"),
        "signature_mismatch",
        {"message": "'double a'", "where": "kaas.yaml:13 graph[0].args[0]", "hint": "float64"},
    ),
}


def does_not_fit(name: str) -> bytes:
    """A bundle that is good as a bundle, and does not compile or fit."""
    return bundle(COMPILE_ERRORS[name][0], **{"src/near.h": "#define NEAR(v) (v * nowhere)\n"})


@pytest.mark.parametrize("name", COMPILE_ERRORS)
def test_a_source_that_does_not_fit_is_told_on_the_users_file(gated_pool: PoolProcess, s3: S3Client, name: str) -> None:
    _, code, texts = COMPILE_ERRORS[name]
    before = kept(gated_pool)
    reply = upload(gated_pool, does_not_fit(name))
    refused(reply, code, **texts)
    assert {path for path in kept(gated_pool) - before if "/bundles/" in path} == set()
    assert str(gated_pool.state) not in json.dumps(reply.body)
    assert_serves(gated_pool, s3)


def test_a_compile_error_reaches_the_caller_of_the_proxy(gated_pool: PoolProcess, s3: S3Client, tmp_path: Path) -> None:
    data = does_not_fit("an undefined name")
    environment = {"KAAS_POOL_URL": f"http://127.0.0.1:{gated_pool.port}", "KAAS_TOKEN": "alice-token"}
    with ProxyProcess(tmp_path, environment) as proxy:
        assert proxy.init(base64.b64encode(data).decode(), binary=True) == (200, {"ok": True})
        x = put(s3, "compile/x.npy", np.ones(4, np.float32))
        status, answer = proxy.run({"x": x, "z": "s3://alice/compile/z.npy"})
        assert (status, answer) == (200, {"error": upload(gated_pool, data).body["error"]})
        assert "src/scale.cu:3: 'y' was not declared" in proxy.stderr
        assert proxy.sentinels() == (1, 1)
    assert keys(s3, "compile/z") == []
    assert_serves(gated_pool, s3)


def test_a_source_inside_the_manifest_is_told_by_the_manifests_lines(gated_pool: PoolProcess, s3: S3Client) -> None:
    text = SAXPY.replace("z[i] = a * x[i] + y[i];", "z[i] = a * nonsense[i];")
    line = next(number for number, line in enumerate(text.splitlines(), 1) if "nonsense" in line)
    refused(upload(gated_pool, text.encode()), "compile_error", where=f"kaas.yaml:{line}", message="nonsense")
    assert_serves(gated_pool, s3)


def everything_said_and_kept(pool: PoolProcess, reply: Reply) -> bytes:
    """The answer, the log and every file of the state directory."""
    texts = [json.dumps(reply.body).encode(), pool.log.read_bytes()]
    for folder, _, names in os.walk(pool.state):
        for name in names:
            path = Path(folder, name)
            # Sockets are no files, and a compiler that has ended takes its own along.
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    texts.append(path.read_bytes())
    return b"\n".join(texts)


def escapes(secret: Path) -> dict[str, str]:
    """Ways by which a source might get at a file of the machine."""
    up = "../" * 40 + str(secret)[1:]
    return {
        "absolute": f'#include "{secret}"\n',
        "upwards": f'#include "{up}"\n',
        "through /proc": f"#include </proc/self/root{secret}>\n",
        "a computed name": f'#define NAME "{secret}"\n#include NAME\n',
        "a line that claims to be there": f'#line 1 "{secret}"\n#error here\n',
        "the assembler": f'asm(".incbin \\"{secret}\\"");\n',
        "the assembler's include": f'asm(".include \\"{secret}\\"");\n',
    }


@pytest.mark.parametrize("way", escapes(Path("/x")))
def test_no_source_sees_a_file_of_the_machine(gated_pool: PoolProcess, s3: S3Client, tmp_path: Path, way: str) -> None:
    token = f"secret_{secrets.token_hex(16)}"
    secret = tmp_path / "secret.h"
    secret.write_text(f"{token} is no C++\n")
    reply = upload(gated_pool, bundle(escapes(secret)[way] + SOURCE))
    refused(reply, "compile_error")
    assert secret.name in str(reply.body["error"])
    assert token.encode() not in everything_said_and_kept(gated_pool, reply)
    assert_serves(gated_pool, s3)


@pytest.mark.parametrize("name", ["tokens.json", "stores.json", "journal.sqlite", "run/mover.pid"])
def test_no_source_sees_the_pools_own_files(gated_pool: PoolProcess, s3: S3Client, name: str) -> None:
    path = gated_pool.state / name
    assert path.is_file()
    reply = upload(gated_pool, bundle(f'#include "{path}"\n{SOURCE}'))
    refused(reply, "compile_error", where="src/scale.cu:1", hint="the bundle's own files")
    told: Any = reply.body["error"]
    assert not any(word in json.dumps(told) for word in ("sha256", "secret_key", "SQLite format"))
    check_error(told, "compile_error", message=str(path))
    assert_serves(gated_pool, s3)


def test_after_all_that_the_proxy_takes_a_good_one(gated_pool: PoolProcess, s3: S3Client, proxy: ProxyProcess) -> None:
    assert proxy.init(base64.b64encode(bundle(SOURCE)).decode(), binary=True) == (200, {"ok": True})
    x = put(s3, "good/x.npy", np.arange(5, dtype=np.float32))
    status, answer = proxy.run({"x": x, "z": "inline", "a": 3})
    assert (status, answer["z"]) == (200, [0.0, 3.0, 6.0, 9.0, 12.0])
