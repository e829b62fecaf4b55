#!/usr/bin/env bash
# Measures reading through the mounts of icecore, restic and borg beside plain
# ext4 in one run, and prints the table about it of docs/performance.md.
#
# Usage: scripts/bench_mount.sh [--tree DIRECTORY] [--runs N] [--quick]
#
# --quick: one run on /usr/share/doc, to see that all of it works.
# Times are medians of N runs in seconds. "Cold" means that the page, dentry and
# inode caches were dropped before, which needs root.
# shellcheck disable=SC2016 # the small scripts below expand their own variables
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

tree=/usr/share
runs=3
while [ $# -gt 0 ]; do
    case "$1" in
        --tree) tree="${2:-}"; shift 2 || die "--tree needs a directory" ;;
        --runs) runs="${2:-}"; shift 2 || die "--runs needs a number" ;;
        --quick) tree=/usr/share/doc runs=1; shift ;;
        *) die "unknown argument $1" ;;
    esac
done
[ -d "$tree" ] || die "$tree is no directory"
tree=$(cd "$tree" && pwd)
[[ "$runs" =~ ^[1-9][0-9]*$ ]] || die "--runs needs a number from 1 on"
[ "$(id -u)" -eq 0 ] || die "dropping caches needs root"

bash scripts/setup.sh --bench
cargo build --release --locked
work=$(mktemp -d)
cleanup() {
    for point in "$work"/mnt-*; do
        if mountpoint -q "$point"; then umount -l "$point" || true; fi
    done
    rm -rf "$work"
}
trap cleanup EXIT
mkdir "$work/mnt-icecore" "$work/mnt-restic" "$work/mnt-borg" "$work/out"

export ICECORE_REPO="$work/icecore" RESTIC_REPOSITORY="$work/restic" RESTIC_PASSWORD=bench
export BORG_REPO="$work/borg" BORG_CACHE_DIR="$work/borg-cache" BORG_CONFIG_DIR="$work/borg-config"
export RESTIC_CACHE_DIR="$work/restic-cache"

drop_caches() {
    sync
    echo 3 >/proc/sys/vm/drop_caches
}

# Seconds and peak MB of a command, in $seconds and $peak.
measure() {
    /usr/bin/time -o "$work/time" -f '%e %M' "$@" >/dev/null 2>"$work/errors" || {
        cat "$work/errors" >&2
        die "failed: $*"
    }
    read -r seconds peak < <(tail -n 1 "$work/time")
    peak=$((peak / 1024))
}

# The median of numbers.
median() {
    printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

# Median seconds of a command: cold, or warm after one run that is not counted.
timed() {
    local kind="$1" all=()
    shift
    if [ "$kind" = warm ]; then
        measure "$@"
    fi
    for _ in $(seq "$runs"); do
        # Not removed: ext4 is slow to make files where many were removed lately.
        mv "$work/out" "$(mktemp -d "$work/old.XXXXXX")"
        mkdir "$work/out"
        [ "$kind" = warm ] || drop_caches
        measure "$@"
        all+=("$seconds")
    done
    median "${all[@]}"
}

ratio() {
    awk "BEGIN { if ($2 > 0) printf \"%.2f\", $1 / $2; else printf \"-\" }"
}

files=$(find "$tree" -type f | wc -l)
bytes=$(du -sb "$tree" | cut -f1)
echo "Tree: $tree, $files files, $((bytes >> 20)) MiB. Machine: $(nproc) processors," \
    "$(awk '/MemTotal/ { printf "%d GiB", $2 / 1048576 }' /proc/meminfo)," \
    "$(stat -f -c %T "$work"), Linux $(uname -r)."
echo "$("$BINARY" --version), $(restic version | cut -d' ' -f1,2), $(borg --version)." \
    "Medians of $runs."
[ "$(stat -c %d "$tree")" = "$(stat -c %d "$work")" ] ||
    echo "Beware: the tree and $work are on different file systems."

PATH="$work/bin:$PATH"
mkdir "$work/bin"
init_icecore() { "$BINARY" init; }
init_restic() { restic init; }
init_borg() { borg init -e none; }

# --- a second snapshot with one file in a hundred changed -----------------------
cp -a "$tree" "$work/changed"
find "$work/changed" -type f | awk 'NR % 100 == 0' | while read -r file; do
    echo changed >>"$file"
done
for name in icecore restic borg; do
    rm -rf "${work:?}/$name" "$work/$name-cache"
    "init_$name" >/dev/null 2>&1
done
mv "$work/changed" "$work/tree-b"
cp -a "$tree" "$work/tree-a"
mkdir "$work/source"
for version in a b; do
    mv "$work/tree-$version" "$work/source/tree"
    (
        cd "$work/source"
        "$BINARY" create -q tree
        restic backup -q tree
        borg create -C lz4 "::$version" tree
    )
    mv "$work/source/tree" "$work/tree-$version"
done

# --- reading through the mounts -------------------------------------------------
"$BINARY" mount -q "$work/mnt-icecore"
icecore_pid=$(getfattr --only-values -n user.icecore.pid "$work/mnt-icecore" 2>/dev/null)
restic mount -q "$work/mnt-restic" >/dev/null 2>&1 &
restic_pid=$!
borg mount -f :: "$work/mnt-borg" >/dev/null 2>&1 &
borg_pid=$!
for point in restic borg; do
    for _ in $(seq 100); do
        mountpoint -q "$work/mnt-$point" && break
        sleep 0.1
    done
    mountpoint -q "$work/mnt-$point" || die "$point mount does not work"
done
snapshot_a=$("$BINARY" show latest~1 | sed -n 's/^Snapshot *//p')
snapshot_b=$("$BINARY" show latest | sed -n 's/^Snapshot *//p')
mapfile -t restic_ids < <(find "$work/mnt-restic/ids" -mindepth 1 -maxdepth 1 | sort)
restic_new=$(restic snapshots --latest 1 -c | awk 'NR == 3 { print $1 }')
restic_b="$work/mnt-restic/ids/$restic_new/tree"
restic_a=""
for id in "${restic_ids[@]}"; do
    [ "${id##*/}" = "$restic_new" ] || restic_a="$id/tree"
done
declare -A a=(
    [ext4]="$work/tree-a" [icecore]="$work/mnt-icecore/$snapshot_a/tree"
    [restic]="$restic_a" [borg]="$work/mnt-borg/a/tree"
)
declare -A b=(
    [ext4]="$work/tree-b" [icecore]="$work/mnt-icecore/$snapshot_b/tree"
    [restic]="$restic_b" [borg]="$work/mnt-borg/b/tree"
)

row() { # label, kind, command with @A and @B for the trees
    local line="| $1 |" kind="$2" name command reference="" icecore_seconds=""
    shift 2
    for name in ext4 icecore restic borg; do
        command=("${@//@A/${a[$name]}}")
        command=("${command[@]//@B/${b[$name]}}")
        seconds=$(timed "$kind" "${command[@]}")
        [ "$name" = ext4 ] && reference=$seconds
        line+=" $seconds |"
        [ "$name" = icecore ] && icecore_seconds=$seconds
    done
    echo "$line $(ratio "$icecore_seconds" "$reference") |"
}
printf '#!/bin/sh\nfind "$1" -printf "%%s %%T@\\n"\n' >"$work/bin/walk"
printf '#!/bin/sh\ntar cf - -C "$1" . | cat >/dev/null\n' >"$work/bin/pack"
printf '#!/bin/sh\ndiff -rq --no-dereference "$1" "$2" >/dev/null\n[ $? -le 1 ]\n' >"$work/bin/differ"
chmod +x "$work"/bin/*
echo
echo "| read | ext4 | icecore | restic | borg | icecore : ext4 |"
echo "|---|---|---|---|---|---|"
row "find -printf, cold" cold walk @A
row "find -printf, warm" warm walk @A
row "ls -lR, cold" cold ls -lR @A
row "ls -lR, warm" warm ls -lR @A
row "tar to a pipe, cold" cold pack @A
row "tar to a pipe, warm" warm pack @A
row "cp -a to ext4, cold" cold cp -a @A "$work/out/"
row "rsync -a to ext4, cold" cold rsync -a @A "$work/out/"
row "diff -r of two snapshots, 1 % changed, cold" cold differ @A @B
peak_of() { awk '/VmHWM/ { print int($2 / 1024) }' "/proc/$1/status" 2>/dev/null || echo "-"; }
echo "| peak MB of the mount | | $(peak_of "$icecore_pid") | $(peak_of "$restic_pid") |" \
    "$(peak_of "$borg_pid") | |"
"$BINARY" umount -q "$work/mnt-icecore"
umount -l "$work/mnt-restic" "$work/mnt-borg" || true
