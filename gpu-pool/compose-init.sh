#!/usr/bin/env bash
# Makes the folder that compose.yaml works in: keys and tokens (0600, once), and `env` with what compose and you need.
#
#   compose-init.sh FOLDER [emulated | cuda]
set -euo pipefail

home=${1:?usage: compose-init.sh FOLDER [emulated | cuda]}
device=${2:-emulated}
if [[ $device != emulated && $device != cuda ]]; then
    echo "compose-init.sh: the device is emulated or cuda, not '$device'" >&2
    exit 2
fi
if ((EUID == 0)); then
    echo "compose-init.sh: the containers run as whoever calls this, and that must not be root: use another user" >&2
    exit 1
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
    cat >"$home/env" <<ENV
KAAS_HOME=$home
KAAS_USER=$(id -u):$(id -g)
KAAS_DEVICE=$device
KAAS_POOL_URL=http://127.0.0.1:7233
KAAS_TOKEN=$token
AWS_ENDPOINT_URL_S3=http://127.0.0.1:9000
AWS_ACCESS_KEY_ID=$access
AWS_SECRET_ACCESS_KEY=$key
AWS_DEFAULT_REGION=us-east-1
ENV
fi
echo "$home/env"
