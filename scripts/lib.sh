# Sourced by the other scripts: where build output goes, and how to say things.

# Build output is kept outside of the checkout, so that a fresh clone does not
# compile RocksDB (about seven minutes) again. Nothing relies on it being there.
ICECORE_CACHE="${ICECORE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/icecore}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$ICECORE_CACHE/target}"

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
