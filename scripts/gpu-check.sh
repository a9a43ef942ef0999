#!/usr/bin/env bash
# Checks a machine with an NVIDIA driver, in stages, in at most eight minutes; see benchmarks/gpu_check.py.
#
#   gpu-check.sh                     check; packages come from the index that pip is set up for
#   WHEELS=dir gpu-check.sh          check with no network; packages come from dir
#   gpu-check.sh fill DIR            fill DIR, on a machine with a network and the same version of Python
#
# It leaves its environment in .cache/gpu-check and uses what the machine's own Python has (numpy, cuda-bindings).
# Exit 77: there is no NVIDIA driver here. 1: a stage failed. KAAS_PYTHON names the interpreter.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

python=${KAAS_PYTHON:-python3}

# What a check imports, less what is too large to carry: NVRTC and its headers are on a machine with a toolkit.
small="annotated-types hypothesis iniconfig mako markupsafe numpy packaging platformdirs pluggy pydantic
pydantic-core pygments pytest pytest-timeout pytools pyyaml siphash24 sortedcontainers typing-extensions
typing-inspection urllib3"

fill() { # directory
    local pattern="" name from
    mkdir -p "$1" || return 1
    for name in $small; do
        pattern+="^${name}==|"
    done
    # The pins without their hashes: some of them are another machine's.
    pins() { grep -E "$1" "$2" | sed 's/ *\\$//'; }
    from=("$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$1")
    "${from[@]}" --only-binary :all: -r <(pins "${pattern%|}" requirements.lock) || return 1
    "${from[@]}" --only-binary :all: -r <(pins "^(nvidia|numpy|setuptools)" requirements-build.lock) || return 1
    "${from[@]}" --no-binary pycuda -r <(pins "^pycuda" requirements-build.lock) || return 1
    du -sh "$1"
}

case ${1:-} in
fill)
    fill "${2:?a directory}"
    exit
    ;;
"" | --*) ;;
*)
    sed -n '4,6s/^# *//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac

if [[ ! -e /proc/driver/nvidia/version && $* != *"--device emulated"* ]]; then
    echo "gpu-check: no NVIDIA driver here (/proc/driver/nvidia/version is missing), so there is nothing to check" >&2
    exit 77
fi
exec "$python" benchmarks/gpu_check.py ${WHEELS:+--wheels "$WHEELS"} "$@"
