#!/usr/bin/env bash
# Makes the folder that compose.yaml works in: keys and tokens (0600, once), and `env` with what compose and you need.
# Called again, it keeps the keys; a device then replaces the one before.
#
#   compose-init.sh FOLDER [emulated | cuda]
set -euo pipefail
unset CDPATH

home=${1:?usage: compose-init.sh FOLDER [emulated | cuda]}
device=${2:-}
if [[ $device != "" && $device != emulated && $device != cuda ]]; then
    echo "compose-init.sh: the device is emulated or cuda, not '$device'" >&2
    exit 2
fi
if ((EUID == 0)); then
    echo "compose-init.sh: the containers run as whoever calls this, and that must not be root: use another user" >&2
    exit 1
fi
[[ $home == /* ]] || home=$PWD/$home
# Neither a volume of compose nor the file `env` can have these in a path.
if [[ $home == *[\'\"\\\$\`:]* || $home == *[[:cntrl:]]* ]]; then
    printf 'compose-init.sh: %q has a character that compose cannot take in a path: use another folder\n' "$home" >&2
    exit 2
fi
umask 077
mkdir -p "$home"/{pool,run,store}
home=$(cd "$home" && pwd)

secret() { # prints 64 hexadecimal digits
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

if [[ ! -e $home/env ]]; then
    token=$(secret)
    access=guest-$(secret | cut -c1-16)
    key=$(secret)
    digest=$(printf %s "$token" | sha256sum | cut -d' ' -f1)
    cat >"$home/tokens.json" <<JSON
[{"sha256": "$digest", "tenant": "guest", "scopes": ["invoke", "read"]}]
JSON
    cat >"$home/stores.json" <<JSON
{"tenants": {"guest": {"endpoint": "http://store:8333", "access_key": "$access", "secret_key": "$key"}}}
JSON
    cat >"$home/s3.json" <<JSON
{"identities": [{"name": "guest", "actions": ["Read", "Write", "List", "Tagging"],
                 "credentials": [{"accessKey": "$access", "secretKey": "$key"}]}]}
JSON
    # Last, and whole: what is interrupted before is made anew.
    cat >"$home/env.new" <<ENV
KAAS_HOME='$home'
KAAS_USER=$(id -u):$(id -g)
KAAS_DEVICE=${device:-emulated}
KAAS_POOL_URL=http://127.0.0.1:7233
KAAS_TOKEN=$token
AWS_ENDPOINT_URL_S3=http://127.0.0.1:9000
AWS_ACCESS_KEY_ID=$access
AWS_SECRET_ACCESS_KEY=$key
AWS_DEFAULT_REGION=us-east-1
ENV
else
    # The folder may have been moved.
    while IFS= read -r line; do
        case $line in
        KAAS_HOME=*) line="KAAS_HOME='$home'" ;;
        KAAS_DEVICE=*) line=KAAS_DEVICE=${device:-${line#*=}} ;;
        esac
        printf '%s\n' "$line"
    done <"$home/env" >"$home/env.new"
fi
mv "$home/env.new" "$home/env"
echo "$home/env"
