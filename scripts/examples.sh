#!/usr/bin/env bash
# Runs one example of each command that looks into snapshots or brings files out of
# them, on a small tree, and prints what was typed and what came: the examples of
# README.md.
#
# Usage: scripts/examples.sh [--no-build]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
export LC_ALL=C.UTF-8 TZ=UTC NO_COLOR=1

case "${1:-}" in
    "") cargo build --release --locked ;;
    --no-build) ;;
    *) die "unknown argument $1 (there is only --no-build)" ;;
esac
[ -x "$BINARY" ] || die "there is no $BINARY"
work=$(mktemp -d "${TMPDIR:-/tmp}/icecore-examples.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
# Settings of whoever runs this would show.
while IFS= read -r name; do unset "$name"; done < <(compgen -e ICECORE_ || true)
export ICECORE_REPO="$work/repository"

# Shows a command line and runs it.
example() {
    printf '$ %s\n' "$1"
    PATH="$work/bin:$PATH" bash -c "$1" 2>&1
}

mkdir -p bin etc/nginx/sites cold
ln -s "$BINARY" bin/icecore
printf 'UUID=1 / ext4 defaults 0 1\n' >etc/fstab
printf '127.0.0.1 localhost\n' >etc/hosts
seq 30000 >etc/ports
printf 'include sites/*;\n' >etc/nginx/nginx.conf
printf 'server { listen 80; }\n' >etc/nginx/sites/default
printf 'server { listen 443 ssl; }\n' >etc/nginx/sites/shop
"$BINARY" init --quiet
"$BINARY" create --quiet --host web --tag nightly etc
sleep 0.3
printf '/dev/sdb1 /srv xfs noatime 0 2\n' >>etc/fstab
chmod 600 etc/hosts
mv etc/nginx/sites etc/nginx/sites-enabled
printf 'web\n' >etc/hostname
"$BINARY" create --quiet --host web --tag nightly etc
sleep 0.3

example 'icecore list --tag nightly'
example 'icecore ls -l latest:etc'
example 'icecore tree latest:etc'
example 'icecore cat latest:etc/hosts'
example "icecore find '*.conf' 'fstab'"
example 'icecore versions etc/fstab'
example 'icecore diff latest~1 latest'
example 'icecore diff --content latest~1 latest etc/fstab'
example 'icecore manifest latest:etc'
example 'icecore manifest latest | sha256sum --check --quiet && echo all are as they were'
rm etc/nginx/nginx.conf
echo damaged >>etc/hosts
sleep 0.3
example 'icecore diff latest:etc ./etc'
example 'icecore restore latest:etc etc --overwrite always --yes'
example 'icecore dump latest:etc -a tar.gz | tar -tz'
example 'icecore stats'
example 'icecore export latest cold'
example 'icecore import cold/*.tar.gz --to restored'
