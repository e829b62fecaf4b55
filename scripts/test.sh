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
    # Left out: what makes repositories of its own kind, or none; and, unless
    # ICECORE_TEST_LONG=1, what takes long and hurts the store below the encryption.
    # docs/testing.md says more.
    own=(encryption:: frozen:: support:: cli::usage hostile::verbs
        a_config_of_any_content)
    long=(crash::{mixed,power,repair} failure::{disk_errors,filling,read_only} damage::matrix
        archive::{crash,scale} directories_nested mount::soak fidelity::system a_directory_of_100_000 usr_share)
    [ "${ICECORE_TEST_LONG:-}" != 1 ] || long=()
    ICECORE_TEST_ENCRYPT=1 cargo test --release --locked --test main -- \
        $(printf -- '--skip %s ' "${own[@]}" "${long[@]}")
fi
