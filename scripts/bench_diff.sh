#!/usr/bin/env bash
# Measures comparing two snapshots in which one file of a hundred differs, and
# comparing the newest one with the running system, beside restic, borg and GNU
# diff, and prints the table about it of docs/performance.md.
#
# Usage: scripts/bench_diff.sh [--tree DIRECTORY] [--runs N] [--no-build]
#
# Times are medians of N runs (5) in seconds, after one that is not counted. About
# three times the size of the tree (/usr/share) is needed in TMPDIR.
# shellcheck disable=SC2016 # the small scripts below expand their own variables
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
export LC_ALL=C

tree=/usr/share runs=5 build=true
while [ $# -gt 0 ]; do
    case "$1" in
        --tree) tree="${2:-}"; shift 2 || die "--tree needs a directory" ;;
        --runs) runs="${2:-}"; shift 2 || die "--runs needs a number" ;;
        --no-build) build=false; shift ;;
        *) die "unknown argument $1" ;;
    esac
done
[ -d "$tree" ] || die "$tree is no directory"
[[ "$runs" =~ ^[1-9][0-9]*$ ]] || die "--runs needs a number from 1 on"
for tool in restic borg; do
    command -v "$tool" >/dev/null || die "$tool is not there; \`bash scripts/setup.sh --bench\` installs it"
done
if [ "$build" = true ]; then
    cargo build --release --locked
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/icecore-bench-diff-XXXXXX")
cleanup() {
    if mountpoint -q "$work/mnt"; then umount -l "$work/mnt" || true; fi
    rm -rf "$work"
}
trap cleanup EXIT
mkdir "$work/mnt"
export ICECORE_REPO="$work/icecore" RESTIC_REPOSITORY="$work/restic" RESTIC_PASSWORD=bench
export BORG_REPO="$work/borg" BORG_CACHE_DIR="$work/borg-cache" BORG_CONFIG_DIR="$work/borg-config"
export RESTIC_CACHE_DIR="$work/restic-cache" BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes

# Median seconds of a command that may end with 0 or 1, and what it prints.
timed() {
    local all=() start end code
    for run in $(seq 0 "$runs"); do
        start=$(date +%s%N) code=0
        "$@" >"$work/out" 2>"$work/errors" || code=$?
        end=$(date +%s%N)
        [ "$code" -le 1 ] || { cat "$work/errors" >&2; die "failed with $code: $*"; }
        [ "$run" -eq 0 ] || all+=($((end - start)))
    done
    printf '%s\n' "${all[@]}" | sort -n | awk '{ v[NR] = $1 } END { printf "%.3f", v[int((NR + 1) / 2)] / 1e9 }'
}

row() {
    local label="$1" seconds
    shift
    seconds=$(timed "$@")
    printf '| %s | %s |\n' "$label" "$seconds"
}

say "Two snapshots of a copy of $tree"
cp -a "$tree" "$work/source"
"$BINARY" init --quiet
restic init >/dev/null
borg init -e none
snapshot() {
    sleep 0.3
    (cd "$work/source" && "$BINARY" create --quiet .)
    (cd "$work/source" && restic backup --quiet .)
    (cd "$work/source" && borg create "::$1" .)
}
snapshot one
find "$work/source" -type f | awk 'NR % 100 == 0' >"$work/changed"
while IFS= read -r file; do echo x >>"$file"; done <"$work/changed"
snapshot two
mapfile -t restic_ids < <(restic snapshots --json | python3 -c 'import json, sys; [print(s["id"]) for s in json.load(sys.stdin)]')
ids=$("$BINARY" list --json | python3 -c 'import json, sys; [print(s["id"]) for s in json.load(sys.stdin)]')
mapfile -t ids <<<"$ids"
"$BINARY" mount "$work/mnt" >/dev/null
one="$work/mnt/${ids[0]}" two="$work/mnt/${ids[1]}"

printf '\n%s files, %s of them changed\n\n' "$(find "$work/source" -type f | wc -l)" "$(wc -l <"$work/changed")"
printf '| | seconds |\n|---|---|\n'
row 'icecore diff' "$BINARY" diff latest~1 latest
row 'icecore diff, two equal snapshots' "$BINARY" diff latest latest
row 'restic diff' restic diff "${restic_ids[@]}"
row 'borg diff' borg diff ::one two
row 'diff -rq of the mount' diff -rq --no-dereference "$one" "$two"
row 'icecore diff with the running system' "$BINARY" diff latest "$work/source"
row 'icecore diff --checksum with the running system' "$BINARY" diff --checksum latest "$work/source"
row 'diff -rq of the mount with the running system' diff -rq --no-dereference "$two" "$work/source"
row 'icecore manifest' "$BINARY" manifest latest
row 'sha256sum of the running system' bash -c 'cd "$1" && find . -type f -print0 | xargs -0 sha256sum' bash "$work/source"
