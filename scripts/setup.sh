#!/usr/bin/env bash
# Checks that this machine has what a build needs, picks an interpreter and hands over to setup.py.
#
#   setup.sh             set up .venv
#   setup.sh --check     only say what is missing; exit 1 if anything is
#   setup.sh --missing   print the Debian packages that are missing, nothing else
#
# KAAS_PYTHON names the interpreter; otherwise an existing .venv keeps its own, and a new one gets the
# newest suitable python3.X on PATH.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

minimum_gxx=11
problems=()  # what is wrong, one sentence each
packages=()  # the Debian packages that mend it

# Prints what the interpreter it runs in lacks; nothing if it is suitable. Exit 3: not one of ours at all.
read -r -d '' probe <<'PYTHON'
import os, sys, sysconfig
if sys.implementation.name != "cpython" or not (3, 10) <= sys.version_info[:2] <= (3, 14):
    print("is %s %d.%d" % ((sys.implementation.name,) + tuple(sys.version_info[:2])))
    sys.exit(3)
if sysconfig.get_config_var("Py_GIL_DISABLED") or sys.maxsize < 2**32:
    print("is a free-threaded or 32-bit build")
    sys.exit(3)
for module in "venv", "ensurepip", "ssl", "zlib", "ctypes":
    try:
        __import__(module)
    except ImportError:
        print("lacks the module %s" % module)
if not any(os.path.exists(sysconfig.get_path(key) + "/Python.h") for key in ("include", "platinclude")):
    print("lacks its headers (Python.h)")
PYTHON

# A name on PATH proves nothing: pyenv's shims and stale links are there and do not run.
suitable() { # interpreter -> 0: suitable; 1: it lacks something, named in $lacks; 2: not one of ours
    local status
    lacks=$("$1" -I -c "$probe" 2>/dev/null)
    status=$?
    lacks=${lacks//$'\n'/, }
    ((status == 0)) || return 2
    [[ -z $lacks ]]
}

find_python() { # sets $python, or adds to what is wrong
    local candidate name half="" half_lacks=""
    python=""
    if [[ -n ${KAAS_PYTHON:-} ]]; then
        if suitable "$KAAS_PYTHON"; then
            python=$KAAS_PYTHON
        else
            problems+=("KAAS_PYTHON=$KAAS_PYTHON ${lacks:-does not run}. It must name a CPython 3.10 to 3.14 with venv and headers.")
        fi
        return
    fi
    if [[ -x .venv/bin/python ]] && suitable .venv/bin/python; then
        python=.venv/bin/python
        return
    fi
    for name in python3.14 python3.13 python3.12 python3.11 python3.10 python3; do
        while read -r candidate; do
            suitable "$candidate"
            case $? in
            0)
                python=$candidate
                return
                ;;
            1)
                half_lacks=${half_lacks:-$lacks}
                half=${half:-$candidate}
                ;;
            esac
        done < <(type -aP "$name")
    done
    if [[ -n $half ]]; then
        problems+=("$half $half_lacks.")
    else
        problems+=("No CPython 3.10 to 3.14 that runs is on PATH (KAAS_PYTHON can name one elsewhere).")
        packages+=(python3)
    fi
    packages+=(python3-venv python3-dev)
}

check_tools() {
    local tool version
    if ! command -v g++ >/dev/null; then
        problems+=("There is no g++ (version $minimum_gxx or newer).")
        packages+=(g++)
    else
        version=$(g++ -dumpversion)
        if ((${version%%.*} < minimum_gxx)); then
            problems+=("g++ is version $version; $minimum_gxx or newer is needed.")
            packages+=(g++)
        fi
    fi
    for tool in make git; do
        command -v "$tool" >/dev/null && continue
        problems+=("There is no $tool.")
        packages+=("$tool")
    done
}

report() {
    local sudo="sudo "
    ((EUID == 0)) && sudo=""
    echo "This machine lacks something that KaaS is built with:"
    printf '  %s\n' "${problems[@]}"
    if ((${#packages[@]})); then
        echo "On Debian 12, Ubuntu 22.04 or newer this installs it:"
        echo "  ${sudo}apt-get update && ${sudo}apt-get install -y ${packages[*]}"
    fi
}

if [[ $(uname -s) != Linux || $(uname -m) != x86_64 ]]; then
    echo "KaaS runs on Linux x86-64; this is $(uname -s) $(uname -m)." >&2
    exit 1
fi
find_python
check_tools
case ${1:-} in
--missing)
    echo "${packages[*]-}"
    exit
    ;;
--check | "")
    if ((${#problems[@]})); then
        report >&2
        exit 1
    fi
    [[ ${1:-} == --check ]] && exit
    exec "$python" -s scripts/setup.py
    ;;
*)
    echo "usage: setup.sh [--check | --missing]" >&2
    exit 2
    ;;
esac
