#!/usr/bin/env bash
# Builds the program for others: the same sources, compiler and libraries give the
# same bytes, wherever they lie. `release.sh [DIRECTORY]` builds from nothing in
# DIRECTORY (default: target/reproducible, below the checkout) and prints the
# checksum, and what it was built with.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

directory="${1:-$PWD/target/reproducible}"
mkdir -p "$directory"
directory="$(cd "$directory" && pwd)"
home="${CARGO_HOME:-$HOME/.cargo}"
# No path of this machine and no time of the build in what is compiled.
prefixes=("$PWD=icecore" "$home=cargo" "$directory=target")
RUSTFLAGS="" CFLAGS=""
for prefix in "${prefixes[@]}"; do
    RUSTFLAGS+=" --remap-path-prefix=$prefix"
    CFLAGS+=" -ffile-prefix-map=$prefix"
done
CXXFLAGS="$CFLAGS"
SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)"
export RUSTFLAGS CFLAGS CXXFLAGS SOURCE_DATE_EPOCH
export CARGO_INCREMENTAL=0 CARGO_TARGET_DIR="$directory" LC_ALL=C TZ=UTC
cargo build --release --locked --bin icecore

say "Built with"
rustc -V
c++ --version | head -n 1
ldd --version | head -n 1
say "Checksum"
sha256sum "$directory/release/icecore"
