#!/usr/bin/env bash
# Is what the README asks for enough? Makes a bare Debian in a folder, installs there what the README names and
# nothing else, clones this repository's last commit into it, and runs `make demo` and `make test` as a plain user.
#
#   sudo [SUITE=trixie] tests/fresh-machine/bare-debian.sh [make target ...]
#
# SUITE is a Debian release, bookworm unless given: a newer one has newer compilers and C libraries.
# Where packages come from is this machine's own configuration: apt's, pip's, its certificates and proxies.
# Exits 77 where it cannot run, and says why. TMPDIR chooses the disk (4 GiB); the folder is removed at the end.
set -euo pipefail

suite=${SUITE:-bookworm}
packages=(python3 python3-venv python3-dev g++ make git)
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
targets=("$@")
((${#targets[@]})) || targets=(demo test)

cannot() {
    echo "skipped: $*" >&2
    exit 77
}
((EUID == 0)) || cannot "debootstrap and mounts need root"
for tool in debootstrap apt-get unshare pivot_root git; do
    command -v "$tool" >/dev/null || cannot "there is no $tool here"
done
# Whatever release this machine is, its mirror has the others.
mirror=$(apt-get indextargets --format "\$(RELEASE) \$(REPO_URI) \$(COMPONENT) \$(ORIGIN)" 'Created-By: Packages' |
    awk '$1 !~ /[-\/]/ && $3 == "main" && $4 == "Debian" {print $2; exit}')
[[ -n $mirror ]] || cannot "apt has no mirror of Debian here"
unshare --mount --pid --fork true || cannot "new mount and process namespaces are not allowed here"

root=$(mktemp -d "${TMPDIR:-/var/tmp}/bare-debian.XXXXXX")
chmod 755 "$root" # it will be / to a user who is not root
# Whatever was mounted or started below was so in namespaces that are gone by now.
trap 'rm -rf --one-file-system "$root"' EXIT

step() { echo "== [$((SECONDS / 60)) min $((SECONDS % 60)) s] $*"; }

inside() { # user, command line: run in the bare system, where it is the whole file system
    local user=$1
    shift
    unshare --mount --pid --fork --kill-child bash -euc '
        mount --bind "$1" "$1"
        cd "$1"
        mount -t proc proc proc
        mount --rbind /dev dev
        mount -t tmpfs tmpfs dev/shm
        mkdir -p outside
        pivot_root . outside
        umount -l outside
        shift
        exec "$@"
    ' inside "$root" /usr/bin/env -i "${settings[@]}" setpriv --reuid "$user" --regid "$user" --clear-groups "$@" </dev/null
}

# What pip and apt need to know here: the user's settings for pip, certificates, proxies.
settings=(PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/srv/home)
certificates=()
while IFS='=' read -r name value; do
    case $name in
    PIP_* | SSL_CERT_FILE | REQUESTS_CA_BUNDLE | http_proxy | https_proxy | no_proxy | HTTP_PROXY | HTTPS_PROXY | NO_PROXY)
        settings+=("$name=$value")
        [[ $name == *CERT* || $name == *BUNDLE* ]] && certificates+=("$value")
        ;;
    esac
done < <(env)

step "debootstrap $suite"
debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$root.log" 2>&1 || {
    tail -n 20 "$root.log" >&2
    rm -f "$root.log"
    exit 1
}
rm -f "$root.log"

step "installing ${packages[*]}"
echo "deb $mirror $suite main" >"$root/etc/apt/sources.list"
apt-config dump Acquire >"$root/etc/apt/apt.conf.d/host"
for file in /etc/resolv.conf /etc/hosts; do
    [[ -e $file ]] && cp -L "$file" "$root$file"
done
inside 0 sh -c "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ${packages[*]}" \
    >"$root/install.log" 2>&1 || {
    tail -n 20 "$root/install.log" >&2
    exit 1
}
for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt ${certificates[@]+"${certificates[@]}"}; do
    [[ -f $file ]] && install -D -m 644 "$file" "$root$file"
done
du -sh --one-file-system "$root" | awk '{print "   the bare system takes " $1}'

step "cloning $(git -C "$repository" log -1 --format='%h %s')"
[[ -z $(git -C "$repository" status --porcelain) ]] || echo "   (what is not committed there is not tested)"
git clone -q --no-hardlinks "$repository" "$root/srv/kaas"
mkdir -p "$root/srv/home"
chown -R 1000:1000 "$root/srv"
chmod 1777 "$root/tmp"

for target in "${targets[@]}"; do
    step "make $target"
    inside 1000 make -C /srv/kaas "$target"
done
step "a bare Debian $suite is enough"
