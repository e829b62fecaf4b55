#!/usr/bin/env bash
# Says what the program is built from, and checks it as far as the tools are
# there: `cargo deny` (deny.toml) and `cargo audit`. With `--tree`, every crate
# that is linked.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

# The crates that are reached by such edges, the program itself left out, with
# their licences.
crates() {
    cargo tree --locked --prefix none --format '{p}|{l}' --edges "$@" \
        | sed 's/ ([^|]*)|/|/; s/ (\*)$//' | sort -u | grep -v '^icecore '
}
linked="$(crates normal,no-proc-macro)"
count() { printf '%s\n' "$1" | wc -l; }
say "Dependencies of the program on this platform"
direct="$(count "$(crates normal,no-proc-macro --depth 1)")"
building="$(($(count "$(crates normal,build)") - $(count "$linked")))"
testing="$(($(count "$(crates normal,build,dev)") - building - $(count "$linked")))"
echo "$(count "$linked") linked ($direct of them direct), $building more to build, $testing more to test"
printf '%s\n' "$linked" | cut -d'|' -f2 | sort | uniq -c | sort -rn
if [ "${1:-}" = --tree ]; then
    printf '%s\n' "$linked" | cut -d'|' -f1
fi

status=0
# Runs one check, if its tool is there, and goes on with the next one.
checked() {
    local tool=$1
    if ! cargo "$tool" --version >/dev/null 2>&1; then
        say "cargo $*: skipped, it is not installed (cargo install --locked cargo-$tool)"
        return
    fi
    say "cargo $*"
    cargo "$@" || {
        status=1
        say "cargo $*: failed"
    }
}
# What reads a list of advisories from the network comes last.
checked deny --locked check licenses bans sources
checked deny --locked check advisories
checked audit
exit "$status"
