#!/usr/bin/env bash
# Builds Knative's `func`, unmodified, for the test that drives the template repository with it; prints its path.
#
#   build-func.sh         into the cache folder, once
#
# Needs git and Go 1.26 or newer, and some gigabytes of space for what it depends on. The sources come from GitHub, or
# from FUNC_SOURCE, a clone of knative/func; a commit pins them, and their go.sum everything else. (`go install` does not
# do: the templates that func embeds are generated and in no module.)
#
# Where the Go proxy lacks some of the modules, FUNC_REPLACE has clones that take their place, MODULE=FOLDER each; what
# is built then is func with other versions of these, and its path says so.
set -euo pipefail

commit=c18d6045a1b0cb6c2b411f03082ab9ed20ba90b3
cache=${KAAS_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kaas}
read -ra replaced <<<"${FUNC_REPLACE:-}"
func=$cache/func-${commit:0:12}${replaced:+-replaced}/func

if [[ ! -x $func ]]; then
    work=$(mktemp -d)
    trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
    {
        git init --quiet "$work/func"
        cd "$work/func"
        git fetch --quiet --depth 1 "${FUNC_SOURCE:-https://github.com/knative/func}" $commit
        git -c advice.detachedHead=false checkout --quiet FETCH_HEAD
        for module in "${replaced[@]}"; do
            go mod edit -replace "$module"
        done
        export GOFLAGS=-mod=mod
        go generate pkg/functions/templates_embedded.go
        go build -trimpath -buildvcs=false -o func ./cmd/func
        mkdir -p "${func%/*}"
        mv func "$func.$$"
        mv "$func.$$" "$func"
    } >&2
fi
printf '%s\n' "$func"
