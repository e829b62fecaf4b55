#!/usr/bin/env bash
# What encryption costs: `create` of a tree that the system has in memory and of one
# that it reads from the disk, and a cold read through a mount, with a plain and an
# encrypted repository by turns. Prints each round and the
# medians. Run it as root on a quiet machine, so that caches can be dropped.
#
# Usage: scripts/bench_encryption.sh [SOURCE] [ROUNDS]     (default: /usr/share 5)
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

source_tree=${1:-/usr/share}
rounds=${2:-5}
cargo build --release --locked
work=$(mktemp -d)
unset ICECORE_REPO
unset ICECORE_PASSWORD
trap 'umount "$work/mnt" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/mnt"
printf 'benchmark\n' >"$work/password"

drop_caches() {
    sync
    if [ -w /proc/sys/vm/drop_caches ]; then
        echo 3 >/proc/sys/vm/drop_caches
    fi
}
# Runs a command and prints the seconds that it took.
seconds() {
    local start end
    start=$(date +%s%N)
    "$@" >/dev/null
    end=$(date +%s%N)
    awk -v ns="$((end - start))" 'BEGIN { printf "%.3f\n", ns / 1e9 }'
}
read_all() {
    tar -C "$1" -cf - . | cat >/dev/null
}
new_repository() {
    rm -rf "$repo"
    if [ "$kind" = encrypted ]; then
        "$BINARY" -q -r "$repo" init --encrypt "${secret[@]}"
    else
        "$BINARY" -q -r "$repo" init
    fi
}
round() {
    local kind=$1 repo="$work/$1"
    local secret=()
    [ "$kind" = plain ] || secret=(--password-file "$work/password")
    new_repository
    drop_caches
    seconds "$BINARY" -q -r "$repo" create "$source_tree" "${secret[@]}" >>"$work/$kind.cold"
    new_repository
    read_all "$source_tree"
    seconds "$BINARY" -q -r "$repo" create "$source_tree" "${secret[@]}" >>"$work/$kind.create"
    "$BINARY" -q -r "$repo" mount "$work/mnt" "${secret[@]}"
    drop_caches
    seconds read_all "$work/mnt/latest$source_tree" >>"$work/$kind.read"
    "$BINARY" -q umount "$work/mnt"
}
median() {
    sort -n "$1" | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'
}

for number in $(seq "$rounds"); do
    for kind in plain encrypted; do
        round "$kind"
        say "round $number, $kind: create cold $(tail -1 "$work/$kind.cold") s, warm $(tail -1 "$work/$kind.create") s, read $(tail -1 "$work/$kind.read") s"
    done
done
for what in cold create read; do
    plain=$(median "$work/plain.$what")
    encrypted=$(median "$work/encrypted.$what")
    awk -v what="$what" -v a="$plain" -v b="$encrypted" \
        'BEGIN { printf "%-7s plain %.3f s, encrypted %.3f s: %+.1f %%\n", what, a, b, (b / a - 1) * 100 }'
done
