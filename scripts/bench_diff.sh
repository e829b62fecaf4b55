#!/usr/bin/env bash
# Measures comparing two snapshots in which one file of a hundred differs, and
# comparing the newest one with the running system, beside restic, borg and GNU
# diff, and prints the table about it of docs/performance.md.
#
# Usage: scripts/bench_diff.sh [--tree DIRECTORY] [--runs N] [--no-build] [--quick]
#
# --no-build: take the binary that is there. --quick: one run of a small tree, to
# see that all of it works.
#
# The tools take turns within each run, since the disk may be shared: what disturbs
# one run disturbs all of them. The first run fills the caches and is not counted.
# Times are seconds, medians of N runs. Single results go to standard error, the
# table to standard output. About four times the size of the tree (/usr/share) is
# needed in TMPDIR.
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
        --quick) tree=/usr/share/doc runs=1; shift ;;
        *) die "unknown argument $1" ;;
    esac
done
[ -d "$tree" ] || die "$tree is no directory"
tree=$(cd "$tree" && pwd)
[[ "$runs" =~ ^[1-9][0-9]*$ ]] || die "--runs needs a number from 1 on"

bash scripts/setup.sh --bench >&2
[ "$build" = false ] || cargo build --release --locked
[ -x "$BINARY" ] || die "there is no $BINARY"

work=$(mktemp -d "${TMPDIR:-/tmp}/bench-diff.XXXXXX")
cleanup() {
    umount -l "$work/mount" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
needed=$(($(du -s -B1 "$tree" | cut -f1) * 4 + (1 << 30)))
free=$(df -B1 --output=avail "$work" | tail -n 1)
[ "$free" -ge "$needed" ] || die "$((needed >> 30)) GiB of space are needed at $work"
export RESTIC_REPOSITORY="$work/restic" RESTIC_PASSWORD=bench RESTIC_CACHE_DIR="$work/restic-cache"
export BORG_REPO="$work/borg" BORG_CACHE_DIR="$work/borg-cache" BORG_CONFIG_DIR="$work/borg-config"
export BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
# Somebody may build another one meanwhile.
mkdir "$work/bin" "$work/mount"
cp "$BINARY" "$work/bin/icecore"
BINARY="$work/bin/icecore"
export ICECORE_REPO="$work/icecore"

progress() {
    printf '%s\n' "$*" >&2
}

progress "Two snapshots of a copy of $tree"
cp -a "$tree" "$work/source"
"$BINARY" init --quiet
restic init --quiet
borg init -e none
snapshot() {
    sleep 0.3
    (
        cd "$work/source"
        "$BINARY" create --quiet .
        restic backup --quiet .
        borg create -C lz4 "::$1" .
    )
}
snapshot one
find "$work/source" -type f | sort | awk 'NR % 100 == 0' >"$work/changed"
while IFS= read -r file; do echo x >>"$file"; done <"$work/changed"
snapshot two
files=$(find "$work/source" -type f | wc -l)
changed=$(wc -l <"$work/changed")
ids() { python3 -c 'import json, sys; [print(it["id"]) for it in json.load(sys.stdin)]'; }
mapfile -t restic_ids < <(restic snapshots --json | ids)
mapfile -t icecore_ids < <("$BINARY" list --json | ids)
[ "${#restic_ids[@]} ${#icecore_ids[@]}" = "2 2" ] || die "there are not two snapshots"
told=$("$BINARY" diff --name-only latest~1 latest | wc -l)
[ "$told" -eq "$changed" ] || die "icecore tells $told differences, $changed were made"
"$BINARY" --quiet mount "$work/mount"
one="$work/mount/${icecore_ids[0]}" two="$work/mount/${icecore_ids[1]}"

labels=()
declare -A commands samples
# Notes a command under a label: the name of a function below, which runs it.
compare() {
    labels+=("$1")
    commands[$1]=$2
}
compare 'icecore diff' between
compare 'restic diff' between_restic
compare 'borg diff' between_borg
compare '`diff -rq` of the mount' between_mount
compare 'icecore diff, equal snapshots' equal
compare 'icecore diff with the running system' live
compare 'the same with --checksum' live_checksum
compare '`diff -rq` of the mount and the running system' live_mount
compare 'icecore manifest' manifest
compare '`sha256sum` of the running system' sums
between() { measure "$BINARY" diff latest~1 latest; }
between_restic() { measure restic diff "${restic_ids[@]}"; }
between_borg() { measure borg diff ::one two; }
between_mount() { measure diff -rq --no-dereference "$one" "$two"; }
equal() { measure "$BINARY" diff latest latest; }
live() { measure "$BINARY" diff latest "$work/source"; }
live_checksum() { measure "$BINARY" diff --checksum latest "$work/source"; }
live_mount() { measure diff -rq --no-dereference "$two" "$work/source"; }
manifest() { measure "$BINARY" manifest latest; }
sums() {
    measure bash -c 'cd "$1" && find . -type f -print0 | xargs -0 sha256sum' bash "$work/source"
}

# Runs a command that may say by 1 that there are differences, and prints
# seconds, CPU seconds and peak MB.
measure() {
    local begin code=0 user system peak
    begin=${EPOCHREALTIME/./}
    /usr/bin/time -o "$work/time" -f '%U %S %M' "$@" >"$work/output" 2>"$work/errors" || code=$?
    local end=${EPOCHREALTIME/./}
    if [ "$code" -gt 1 ]; then
        cat "$work/errors" >&2
        die "failed with $code: $*"
    fi
    read -r user system peak < <(tail -n 1 "$work/time")
    awk "BEGIN { printf \"%.3f %.2f %d\", ($end - $begin) / 1e6, $user + $system, $peak / 1024 }"
}

for ((run = 0; run <= runs; run++)); do
    for ((turn = 0; turn < ${#labels[@]}; turn++)); do
        label=${labels[$(((run + turn) % ${#labels[@]}))]}
        result=$("${commands[$label]}")
        progress "run $run, $label: $result"
        [ "$run" -eq 0 ] || samples[$label]="${samples[$label]:-}$result"$'\n'
    done
done

median() { # label, column
    awk -v column="$2" 'NF { print $column }' <<<"${samples[$1]}" | sort -n |
        awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

echo "Machine: $(nproc) processors," \
    "$(awk '/MemTotal/ { printf "%d GiB", $2 / 1048576 }' /proc/meminfo)," \
    "$(stat -f -c %T "$work"), Linux $(uname -r)."
echo "$("$BINARY" --version), $(restic version | cut -d' ' -f1,2), $(borg --version)." \
    "Medians of $runs, from a warm cache."
echo
echo "### Comparing: $tree, $files files, $changed of them changed"
echo
echo "| | seconds | CPU seconds | peak MB |"
echo "|---|---|---|---|"
for label in "${labels[@]}"; do
    echo "| $label | $(median "$label" 1) | $(median "$label" 2) | $(median "$label" 3) |"
done
