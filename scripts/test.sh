#!/usr/bin/env bash
# Installs what is missing and runs every check and test. Arguments go to
# `cargo test`, e.g. `scripts/test.sh gc::` runs only tests of that name.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

bash scripts/setup.sh

if [ "${CI:-}" = true ]; then
    # Nothing about FUSE may be skipped there.
    export ICECORE_REQUIRE_FUSE=1
    if [ "$(id -u)" -eq 0 ]; then
        export ICECORE_REQUIRE_ROOT=1
    fi
fi

if cargo fmt --version >/dev/null 2>&1; then
    say "Formatting"
    cargo fmt --check
else
    say "Formatting: skipped, rustfmt is not installed"
fi
if cargo clippy --version >/dev/null 2>&1; then
    say "Lints"
    cargo clippy --release --locked --all-targets -- -D warnings
else
    say "Lints: skipped, clippy is not installed"
fi

say "Tests"
cargo test --release --locked "$@"

if [ $# -eq 0 ]; then
    say "Tests on encrypted repositories"
    # What is left out looks for plain bytes in the store, or runs the program by
    # itself, without the password that the tests give.
    ICECORE_TEST_ENCRYPT=1 cargo test --release --locked --test main -- \
        fidelity::generated fidelity::mounted fidelity::copies gc::reclaim gc::beside views:: \
        mount::reading diff:: restore:: prune::tag prune::undelete crash::kill \
        --skip restore::damage --skip diff::manifest::a_damaged --skip restore::existing::a_person_is_asked
fi
