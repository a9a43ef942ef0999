#!/usr/bin/env bash
# Builds Helm, unmodified, for the tests that lint and render the chart with it; prints its path.
#
#   build-helm.sh         into the cache folder, once
#
# Needs Go 1.26 or newer. The sources and what they need come through Go's module proxy, as Go is configured here; the
# module's own go.sum pins all of it.
set -euo pipefail

version=v4.3.1
cache=${KAAS_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kaas}
helm=$cache/helm-$version/helm

if [[ ! -x $helm ]]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    {
        # Helm gets its version from its linker's flags, and takes itself for 4.0 without.
        GOBIN=$work CGO_ENABLED=0 go install -trimpath -buildvcs=false \
            -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$version" "helm.sh/helm/v4/cmd/helm@$version"
        mkdir -p "${helm%/*}"
        mv "$work/helm" "$helm.$$"
        mv "$helm.$$" "$helm"
    } >&2
fi
printf '%s\n' "$helm"
