#!/usr/bin/env bash
# Measures `icecore restore` beside restic, borg, `cp -a` from the mount and `cp -a`
# from the source, and prints the table about it of docs/performance.md.
#
# Usage: scripts/bench_restore.sh [--tree DIRECTORY] [--runs N] [--no-build] [--quick]
#
# --no-build: take the binary that is there. --quick: one run of a small tree, to
# see that all of it works.
#
# The tools take turns within each run, each run beginning with another one, since
# the disk may be shared: what disturbs one run disturbs all of them. Before each timed
# command comes a `sync` and a pause. Times are seconds, medians of N runs. "Cold" means
# that the page, dentry and inode caches were dropped before, which needs root; "warm"
# that what the tool reads was read into them again. Nothing is synced within the time
# measured: no tool does by itself. Single results go to standard error, the table to
# standard output.
#
# Caches are dropped before warm runs too, since the target of the run before was deleted:
# ext4 without a journal gives no inode number away that was freed in the last minutes,
# as far as it has the inode in its cache, and walks over all of them for each file that
# is made (`recently_deleted` in fs/ext4/ialloc.c). That cost every tool more than its work.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
export LC_ALL=C

tree=/usr/share
runs=3
build=true
pause=2
while [ $# -gt 0 ]; do
    case "$1" in
        --tree) tree="${2:-}"; shift 2 || die "--tree needs a directory" ;;
        --runs) runs="${2:-}"; shift 2 || die "--runs needs a number" ;;
        --no-build) build=false; shift ;;
        --quick) tree=/usr/share/doc runs=1 pause=0.3; shift ;;
        *) die "unknown argument $1" ;;
    esac
done
[ -d "$tree" ] || die "$tree is no directory"
tree=$(cd "$tree" && pwd)
[[ "$runs" =~ ^[1-9][0-9]*$ ]] || die "--runs needs a number from 1 on"
[ "$(id -u)" -eq 0 ] || die "dropping caches needs root"

bash scripts/setup.sh --bench >&2
[ "$build" = false ] || cargo build --release --locked
[ -x "$BINARY" ] || die "there is no $BINARY"

work=$(mktemp -d "${TMPDIR:-/tmp}/bench-restore.XXXXXX")
cleanup() {
    umount -l "$work/mount" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
needed=$(($(du -s -B1 "$tree" | cut -f1) * 6 + (1 << 30)))
free=$(df -B1 --output=avail "$work" | tail -n 1)
[ "$free" -ge "$needed" ] || die "$((needed >> 30)) GiB of space are needed at $work"
export RESTIC_PASSWORD=bench RESTIC_REPOSITORY="$work/restic" RESTIC_CACHE_DIR="$work/restic-cache"
export BORG_REPO="$work/borg" BORG_CACHE_DIR="$work/borg-cache" BORG_CONFIG_DIR="$work/borg-config"
# Somebody may build another one meanwhile.
mkdir "$work/bin" "$work/mount"
cp "$BINARY" "$work/bin/icecore"
BINARY="$work/bin/icecore"
export ICECORE_REPO="$work/icecore"

progress() {
    printf '%s\n' "$*" >&2
}

# Reads all that a tool will read.
warm_up() { # tool
    case "$1" in
        icecore) find "$ICECORE_REPO" -type f -exec cat {} + ;;
        restic) find "$RESTIC_REPOSITORY" "$RESTIC_CACHE_DIR" -type f -exec cat {} + ;;
        borg) find "$BORG_REPO" "$BORG_CACHE_DIR" -type f -exec cat {} + ;;
        cp-mount) tar -C "$work/mount/latest$tree" -cf - . ;;
        cp-source) tar -C "$tree" -cf - . ;;
    esac | cat >/dev/null
}

# Waits until what was written is on the disk, and drops the caches; warm fills them with
# what the tool reads, and `kept` leaves them as they are.
settle() { # tool, state
    sync
    [ "$2" = kept ] || echo 3 >/proc/sys/vm/drop_caches
    [ "$2" != warm ] || warm_up "$1"
    sleep "$pause"
}

declare -A samples
# Measures a command under a name: seconds, CPU seconds, peak MB.
record() {
    local name="$1" begin user system peak seconds
    shift
    begin=${EPOCHREALTIME/./}
    /usr/bin/time -o "$work/time" -f '%U %S %M' "$@" >"$work/output" 2>"$work/errors" || {
        cat "$work/errors" >&2
        die "failed: $*"
    }
    seconds=$(awk "BEGIN { printf \"%.2f\", (${EPOCHREALTIME/./} - $begin) / 1000000 }")
    read -r user system peak < <(tail -n 1 "$work/time")
    samples[$name]="${samples[$name]:-} $seconds"
    samples[$name.cpu]="${samples[$name.cpu]:-} $(awk "BEGIN { print $user + $system }")"
    samples[$name.peak]="${samples[$name.peak]:-} $((peak / 1024))"
    progress "$name: $seconds s, $user + $system CPU s, $((peak / 1024)) MB"
}

median() {
    tr ' ' '\n' <<<"${samples[$1]:-}" | grep . | sort -n |
        awk '{ v[NR] = $1 } END { print (NR ? v[int((NR + 1) / 2)] : "-") }'
}

restore_by() { # tool, name
    local target="$work/target"
    case "$1" in
        icecore) record "$2" "$BINARY" restore "latest:$tree" "$target" ;;
        restic) record "$2" restic restore latest --target "$target" --quiet ;;
        borg)
            mkdir -p "$target"
            # borg extracts into the working directory.
            cd "$target"
            record "$2" borg extract --sparse ::one
            cd "$work"
            ;;
        cp-mount) record "$2" cp -a "$work/mount/latest$tree" "$target" ;;
        cp-source) record "$2" cp -a "$tree" "$target" ;;
    esac
}

progress "Repositories of $tree"
"$BINARY" init >/dev/null
"$BINARY" create --quiet "$tree"
restic init --quiet
restic backup --quiet "$tree"
borg init -e none
borg create -C lz4 ::one "$tree"
"$BINARY" --quiet mount "$work/mount"

tools=(icecore restic borg cp-mount cp-source)
for ((run = 0; run < runs; run++)); do
    for ((turn = 0; turn < ${#tools[@]}; turn++)); do
        tool=${tools[$(((run + turn) % ${#tools[@]}))]}
        for state in cold warm; do
            rm -rf "$work/target"
            settle "$tool" "$state"
            restore_by "$tool" "$tool.$state"
        done
        # Once more into what is right already, which the others cannot.
        if [ "$tool" = icecore ]; then
            settle "$tool" kept
            restore_by "$tool" "$tool.again"
        fi
    done
done

cells() {
    local cell row="|"
    for cell in "$@"; do row+=" $cell |"; done
    printf '%s\n' "$row"
}

echo "Machine: $(nproc) processors," \
    "$(awk '/MemTotal/ { printf "%d GiB", $2 / 1048576 }' /proc/meminfo)," \
    "$(stat -f -c %T "$work"), Linux $(uname -r)."
echo "$("$BINARY" --version), $(restic version | cut -d' ' -f1,2), $(borg --version)." \
    "Medians of $runs."
echo
echo "### Restoring $tree: $(find "$tree" | wc -l) items, $(du -sm --apparent-size "$tree" | cut -f1) MiB"
echo
echo "| tool | cold | warm | CPU seconds, cold | CPU seconds, warm | peak MB | again, nothing to do |"
echo "|---|---|---|---|---|---|---|"
for tool in "${tools[@]}"; do
    label=$tool
    case "$tool" in
        cp-mount) label="\`cp -a\` from the mount" ;;
        cp-source) label="\`cp -a\` from the source" ;;
    esac
    cells "$label" "$(median "$tool.cold")" "$(median "$tool.warm")" \
        "$(median "$tool.cold.cpu")" "$(median "$tool.warm.cpu")" "$(median "$tool.warm.peak")" "$(median "$tool.again")"
done
