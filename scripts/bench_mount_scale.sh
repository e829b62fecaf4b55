#!/usr/bin/env bash
# Measures what grows: a mount of ten snapshots of a million files, a mount of ten
# thousand snapshots, and a large file, and prints the tables about them of
# docs/performance.md.
#
# Usage: scripts/bench_mount_scale.sh [--quick]
#
# --quick: a hundredth of all numbers, to see that all of it works.
# Needs root to drop caches, 4 GiB in $TMPDIR and 2 GiB in /dev/shm.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

directories=1000 files=1000 snapshots=10000 large=2048
case "${1:-}" in
    --quick) directories=100 files=100 snapshots=100 large=128 ;;
    "") ;;
    *) die "unknown argument $1" ;;
esac
[ "$(id -u)" -eq 0 ] || die "dropping caches needs root"

bash scripts/setup.sh --bench
cargo build --release --locked
many_snapshots=$(cargo bench --locked --bench many_snapshots --no-run 2>&1 |
    sed -n 's/.*(\(.*many_snapshots-[^)]*\)).*/\1/p')
[ -x "$many_snapshots" ] || die "benches/many_snapshots.rs was not built"

work=$(mktemp -d)
tree=$(mktemp -d /dev/shm/icecore.XXXXXX)
point="$work/mnt"
cleanup() {
    cd /
    if mountpoint -q "$point"; then umount -l "$point" || true; fi
    rm -rf "$work" "$tree"
}
trap cleanup EXIT
mkdir "$point"

drop_caches() {
    sync
    echo 3 >/proc/sys/vm/drop_caches
}

# Milliseconds of a command, in $took.
took() {
    local start
    start=$(date +%s%N)
    "$@" >/dev/null
    took=$((($(date +%s%N) - start) / 1000000))
}

peak() {
    local pid
    pid=$(getfattr --only-values -n user.icecore.pid "$point" 2>/dev/null)
    awk '/VmHWM/ { print int($2 / 1024) }' "/proc/$pid/status"
}

remount() {
    if mountpoint -q "$point"; then "$BINARY" umount -q "$point"; fi
    "$BINARY" mount -q "$point"
}

snapshot_ids() {
    "$BINARY" list --json | python3 -c '
import json, sys
print("\n".join(snapshot["id"] for snapshot in json.load(sys.stdin)))'
}

differ() { diff -rq "$1" "$2" || [ $? -eq 1 ]; }

echo "Machine: $(nproc) processors, $(awk '/MemTotal/ { printf "%d GiB", $2 / 1048576 }' /proc/meminfo)," \
    "$(stat -f -c %T "$work"), Linux $(uname -r). $("$BINARY" --version). Single runs."

# --- a million files, ten snapshots ---------------------------------------------
export ICECORE_REPO="$work/million"
"$BINARY" init -q
python3 - "$tree" "$directories" "$files" <<'PYTHON'
import os, sys
top, directories, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for d in range(directories):
    directory = f"{top}/d{d:03}"
    os.mkdir(directory)
    for f in range(files):
        with open(f"{directory}/file-{f:04}.txt", "w") as out:
            out.write(f"{d}/{f}\n")
PYTHON
changed=(10 10 10 10 10 10 10 100 1000)
(cd "$tree" && "$BINARY" create -q .)
for count in "${changed[@]}"; do
    for number in $(seq 0 $((count - 1))); do
        echo more >>"$tree/d$(printf %03d $((number % directories)))/file-0005.txt"
    done
    sleep 0.2
    (cd "$tree" && "$BINARY" create -q .)
done
rm -rf "$tree"
mapfile -t ids < <(snapshot_ids)
remount
cd "$point"
echo
echo "| $((directories * files)) files, one mount | seconds | peak MB of the mount so far |"
echo "|---|---|---|"
number=0
for id in "${ids[@]}"; do
    number=$((number + 1))
    took find "$id" -printf '%s %T@\n'
    case "$number" in 1 | 2 | 5 | 10)
        echo "| find, snapshot $number | $((took / 1000)).$((took / 100 % 10)) | $(peak) |" ;;
    esac
done
first_files="${ids[0]}/d00?"
# shellcheck disable=SC2086 # a pattern
took cat $first_files/*
echo "| cat of the files of ten directories | $((took / 1000)).$((took / 100 % 10)) | $(peak) |"
cd "$OLDPWD"
echo
echo "| diff -rq of two of these snapshots, from a cold cache | ms |"
echo "|---|---|"
for place in 1 8 9; do
    remount
    drop_caches
    took differ "$point/${ids[$((place - 1))]}" "$point/${ids[$place]}"
    echo "| ${changed[$((place - 1))]} changed files | $took |"
done
"$BINARY" umount -q "$point"

# --- many snapshots -------------------------------------------------------------
export ICECORE_REPO="$work/many"
"$BINARY" init -q
"$BINARY" create -q /etc
"$many_snapshots" "$ICECORE_REPO" "$snapshots"
# As any later writer does, this one leaves a short list of files.
"$BINARY" create -q /etc/hostname
echo
echo "| $snapshots snapshots | ms |"
echo "|---|---|"
for kind in warm cold; do
    [ "$kind" = warm ] || drop_caches
    took "$BINARY" mount -q "$point"
    echo "| mount until it serves, $kind | $took |"
    took ls "$point"
    echo "| ls of the mountpoint, $kind | $took |"
    "$BINARY" umount -q "$point"
done
took "$BINARY" list --json
echo "| list --json | $took |"

# --- a large file ---------------------------------------------------------------
export ICECORE_REPO="$work/large"
"$BINARY" init -q
mkdir "$work/source"
find /usr/lib /usr/share -type f -print0 | xargs -0 cat 2>/dev/null |
    head -c $((large << 20)) >"$work/source/file" || true
large=$(($(stat -c %s "$work/source/file") >> 20))
(cd "$work/source" && "$BINARY" create -q .)
id=$(snapshot_ids | tail -n 1)
plain="$work/source/file" shown="$point/$id/file"

read_parts() {
    local part
    for part in 0 1 2 3; do
        dd if="$1" of=/dev/null bs=1M skip=$((part * large / 4)) count=$((large / 4)) status=none &
    done
    wait
}

random_reads() {
    python3 - "$1" "$2" <<'PYTHON'
import os, random, sys, time
file = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
random.seed(int(sys.argv[2]))
size, count = os.fstat(file).st_size, 2000
start = time.monotonic()
for _ in range(count):
    os.pread(file, 4096, random.randrange(size // 4096) * 4096)
print(f"{(time.monotonic() - start) / count * 1e6:.0f}")
PYTHON
}

speed() { echo "| $1 | $((large * 1000 / (took + 1))) MiB/s |"; }
echo
echo "| a file of $large MiB | |"
echo "|---|---|"
drop_caches
took cat "$plain"
speed "ext4, cold"
remount
drop_caches
took cat "$shown"
speed "icecore, cold"
took cat "$shown"
speed "icecore, in the kernel's cache"
remount
took cat "$shown"
speed "icecore, store in the page cache: decompressed and verified"
remount
took read_parts "$shown"
speed "the same by 4 readers"
drop_caches
echo "| ext4, 4 KiB at random, cold | $(random_reads "$plain" 1) us |"
remount
drop_caches
echo "| icecore, 4 KiB at random, cold | $(random_reads "$shown" 1) us |"
remount
cat "$ICECORE_REPO"/db/*.sst >/dev/null
echo "| the same, store in the page cache | $(random_reads "$shown" 2) us |"
"$BINARY" umount -q "$point"
