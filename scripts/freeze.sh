#!/usr/bin/env bash
# Makes a small repository with a bit of everything that needs no root, by the
# binary that is built, and packs it with a list of what must be read from it, as
# tests/data/format-N.tar.gz. Every later version must read it (tests/frozen).
# The list is made of the sources, by python3, before icecore sees them.
#
# What was frozen stays: the script overwrites nothing. It is for a new version
# of the format, or for NAME, a repository of this version with something new.
#
# Usage: scripts/freeze.sh [NAME]     (default: format-N)
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

checkout=$PWD
if [ "$(hostname)" != frozen ]; then
    for tool in python3 setfacl unshare; do
        command -v "$tool" >/dev/null || die "$tool is missing (packages python3, acl, util-linux)"
    done
    cargo build --release --locked
    # The names of this machine and of whoever uses it do not belong into a file
    # that is given to others.
    exec unshare --map-root-user --uts -- \
        bash -c 'hostname frozen && exec bash "$@"' bash "$checkout/scripts/freeze.sh" "$@"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ICECORE_REPO="$work/frozen/repository" TZ=UTC LC_ALL=C.UTF-8
mkdir -p "$work/frozen" "$work/source"
cd "$work/source"

# Makes or changes the sources.
sources() {
    python3 "$checkout/scripts/freeze_sources.py" "$@"
}
# Takes a snapshot of the sources as they are now, and lists them under a label.
take() {
    local label=$1
    shift
    sources list "$label" tree >>"$work/frozen/expected.jsonl"
    "$BINARY" create --description "$label" --host frozen "$@" tree
}

case "${1:-}" in
    # The password is that of all encrypted repositories of the tests. Nothing packs
    # what is encrypted, so there is less of it.
    *encrypted*)
        export MANY=900 BEGINNING=a
        export ICECORE_PASSWORD='correct horse'
        "$BINARY" init --encrypt --kdf-memory 1MiB --kdf-passes 1
        ;;
    *) "$BINARY" init ;;
esac
sources make tree
take first --time 2026-01-01T00:00:00Z --tag yearly
sources change tree
take second --time 2026-02-01T00:00:00Z --compression zstd --tag monthly
take third --time 2026-03-01T00:00:00Z --with-atime --compression none
sources add tree
take deleted --time 2026-04-01T00:00:00Z
"$BINARY" tag latest~3 --add kept --pin
"$BINARY" tag latest~2 --set renamed --pin --until 2099-01-01
"$BINARY" delete latest --yes
printf 'from a pipe' | "$BINARY" create --description stream --host frozen \
    --time 2026-05-01T00:00:00Z --stdin --stdin-filename pipe/stream
"$BINARY" list

# The engine writes its own log and an account of its options; neither is read.
find "$ICECORE_REPO/db" \( -name 'LOG*' -o -name 'OPTIONS-*' \) -delete
version=$(sed -n 's/^format_version = //p' "$ICECORE_REPO/config")
packed="$checkout/tests/data/${1:-format-$version}.tar.gz"
[ ! -e "$packed" ] || die "$packed is frozen; give another name"
mkdir -p "${packed%/*}"
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner -c frozen | gzip -9n >"$packed"
ls -l "$packed"
