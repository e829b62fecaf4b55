#!/usr/bin/env bash
# Runs every fuzz target for a bounded time: `fuzz.sh [SECONDS [TARGET...]]`.
# With cargo-fuzz and a nightly compiler by libFuzzer, and else by the driver in
# src/fuzzing/tests.rs, which knows nothing of coverage. Corpora stay in
# fuzz/corpus, which is not kept; findings go to fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
seconds="${1:-60}"
shift || true
targets=("$@")
if [ "${#targets[@]}" -eq 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do
        targets+=("$(basename "$file" .rs)")
    done
fi

if cargo fuzz --version >/dev/null 2>&1 && rustup toolchain list | grep -q nightly; then
    ICECORE_FUZZ_CORPUS="$PWD/fuzz/corpus" cargo test --release --locked --lib -- \
        --exact fuzzing::tests::every_target_has_seeds_and_takes_them
    # RocksDB is only linked, never fuzzed: a library that is there already spares
    # building it once more, with instruments that slow everything down. Named only
    # now: it is built anew wherever that changes.
    library="$(find "$CARGO_TARGET_DIR/release/build" -name librocksdb.a 2>/dev/null | head -n 1)"
    if [ -n "$library" ]; then
        ROCKSDB_LIB_DIR="$(dirname "$library")"
        export ROCKSDB_LIB_DIR ROCKSDB_STATIC=1
    fi
    export CARGO_TARGET_DIR="$CARGO_TARGET_DIR/fuzz"
    for target in "${targets[@]}"; do
        say "cargo fuzz: $target for $seconds s"
        mkdir -p "fuzz/corpus/$target" "fuzz/regressions/$target"
        cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "fuzz/regressions/$target" -- \
            -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=65536 \
            -print_final_stats=1
    done
else
    say "cargo-fuzz or a nightly compiler is not there: the driver on stable, $seconds s each"
    ICECORE_FUZZ_SECONDS="$seconds" cargo test --release --locked --lib -- \
        --exact fuzzing::tests::no_target_panics_on_changed_seeds --nocapture
fi
