#!/usr/bin/env bash
# Builds icecore and shows its main job on a real directory: snapshot it twice
# with a change between, mount, list, diff, copy back, collect the garbage.
#
# Usage: scripts/demo.sh [DIRECTORY]     (default: /usr/share/doc)
set -euo pipefail
tree=$(realpath -m -- "${1:-/usr/share/doc}")
cd "$(dirname "$0")/.."
. scripts/lib.sh

[ -d "$tree" ] || die "$tree is no directory"

say "Installing what is missing"
bash scripts/setup.sh

say "Building icecore (RocksDB takes some minutes the first time)"
cargo build --release --locked

work=$(mktemp -d)
export ICECORE_REPO="$work/repository"
cleanup() {
    if mountpoint -q "$work/snapshots" 2>/dev/null; then
        "$BINARY" umount --lazy "$work/snapshots" || true
    fi
    rm -rf "$work"
}
trap cleanup EXIT

# Shows a command and runs it.
run() {
    printf '$ %s\n' "$*"
    "$@"
}
icecore() {
    printf '$ icecore %s\n' "$*"
    "$BINARY" "$@"
}

say "Making a repository in $ICECORE_REPO"
icecore init

say "Copying $tree, so that the demonstration has something to change"
run cp -a "$tree" "$work/data"
cd "$work"

say "Taking the first snapshot"
icecore create data

say "Changing a file, adding one, removing one"
mapfile -t files < <(find data -type f -size +1k | sort)
[ "${#files[@]}" -ge 2 ] || die "$tree has too few files"
changed="${files[0]}"
removed="${files[-1]}"
printf 'changed\n' >>"$changed"
printf 'new\n' >data/added-by-the-demonstration
rm "$removed"
printf 'changed %s\nadded   data/added-by-the-demonstration\nremoved %s\n' "$changed" "$removed"

say "Taking the second snapshot: only what changed is stored"
icecore create data --tag demo

say "Listing the snapshots"
icecore list

say "Mounting all of them"
mkdir snapshots
icecore mount snapshots
run ls -l snapshots

say "Comparing the two snapshots with diff -r"
first=$("$BINARY" show latest~1 | sed -n 's/^Snapshot *//p')
second=$("$BINARY" show latest | sed -n 's/^Snapshot *//p')
status=0
run diff -rq --no-dereference "snapshots/$first" "snapshots/$second" || status=$?
[ "$status" -eq 1 ] || die "diff ended with $status instead of 1"
printf 'diff ended with 1, as it must: there are differences\n'

say "Copying the removed file back from the first snapshot"
run cp -a "snapshots/$first/$removed" "$removed"
run cmp "snapshots/$first/$removed" "$removed"

say "Restoring the whole second snapshot with rsync, and comparing"
run rsync -aHAX "snapshots/latest/data/" restored/
run diff -r --no-dereference "snapshots/latest/data" restored
printf 'no difference\n'

say "Unmounting"
icecore umount snapshots

say "Deleting the first snapshot and returning its space"
icecore delete "$first" --yes
icecore gc --max-unused 0

say "Statistics"
icecore stats

printf '\ndemo: all steps succeeded\n'
