# shellcheck shell=bash
# Sourced by the other scripts: where build output goes, and how to say things.

# Build output is kept outside of the checkout, so that a fresh clone does not
# compile RocksDB (about seven minutes) again. Nothing relies on it being there.
ICECORE_CACHE="${ICECORE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/icecore}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$ICECORE_CACHE/target}"
# A relative one counts from the checkout, also after a script changes directory.
case "$CARGO_TARGET_DIR" in
    /*) ;;
    *) CARGO_TARGET_DIR="$PWD/$CARGO_TARGET_DIR" ;;
esac

# The one profile for everything: a second one would compile RocksDB twice.
# shellcheck disable=SC2034 # used by the scripts that source this file
BINARY="$CARGO_TARGET_DIR/release/icecore"

# Says what happens next.
say() {
    printf '\n==> %s\n' "$*"
}

# Ends the script with one line that says why.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}
