#!/usr/bin/env bash
# Regenerates both lock files from pyproject.toml with the newest versions that fit, and checks that every Python
# we support gets a wheel of everything. No address goes into them: where packages come from is the user's matter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${KAAS_PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'uv>=0.9,<1'
uv=$work/venv/bin/uv

compile() { # lock file, then what to resolve
    local lock=$1
    shift
    {
        echo "# Written by make lock from pyproject.toml."
        "$uv" pip compile --quiet --universal --python-version 3.10 --generate-hashes \
            --no-header --no-annotate --no-emit-index-url --no-emit-find-links "$@"
    } >"$work/$lock"
}
compile requirements.lock pyproject.toml --extra dev
# --no-deps: PyCUDA's build takes headers and tools, not what PyCUDA runs with.
compile requirements-build.lock --no-deps --group pycuda-build

for version in 3.10 3.11 3.12 3.13 3.14; do
    echo "checking that Python $version has a wheel of everything"
    for lock in "$work"/requirements*.lock; do
        "$uv" pip install --quiet --dry-run --require-hashes --no-deps --only-binary :all: --no-binary pycuda \
            --target "$work/none" --python-version "$version" --python-platform x86_64-manylinux_2_28 -r "$lock"
    done
done
if grep -n '://' "$work"/requirements*.lock; then
    echo "a lock file would hold an address" >&2
    exit 1
fi
mv "$work"/requirements*.lock .
