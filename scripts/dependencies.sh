#!/usr/bin/env bash
# Says what the program is built from, and checks it as far as the tools are
# there: `cargo deny` (deny.toml) and `cargo audit`. With `--tree`, every crate.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

say "Dependencies of the program on this platform, itself not counted"
host="$(rustc -vV | sed -n 's/^host: //p')"
cargo metadata --format-version 1 --locked --filter-platform "$host" \
    | python3 scripts/dependencies.py "$@"

for tool in deny audit; do
    if ! cargo "$tool" --version >/dev/null 2>&1; then
        say "cargo $tool: skipped, it is not installed (cargo install --locked cargo-$tool)"
        continue
    fi
    say "cargo $tool"
    case "$tool" in
        deny) cargo deny --locked check ;;
        audit) cargo audit ;;
    esac
done
