#!/usr/bin/env bash
# Measures `icecore create` beside restic, borg, `cp -a`, mksquashfs and `find`,
# and prints the tables about it of docs/performance.md.
#
# Usage: scripts/bench_create.sh [--parts ABCDE] [--tree DIRECTORY] [--million N]
#                                [--runs N] [--no-build] [--quick]
#
# --parts: A a tree, B a directory of a million small files, C a disk image that
# changes, D memory, E event logs. --million: the number of files of B and D.
# --no-build: take the binary that is there. --quick: one run of tiny sizes, to
# see that all of it works (options behind it win).
#
# The tools take turns within each run, each run beginning with another one,
# since the disk may be shared: what disturbs one run disturbs all of them.
# Before each timed command comes a `sync` and a pause. Times are seconds, medians
# of N runs. "Cold" means that the page, dentry and inode caches were dropped
# before, which needs root; "warm" that the source was read before. Progress and
# single results go to standard error, the tables to standard output.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
export LC_ALL=C

tree=/usr/share
parts=ABCDE
runs=3
million=1000000
build=true
pause=2
image_bytes=$((2 << 30))
sparse_bytes=$((20 << 30))
dense_bytes=$((4 << 30))
log_bytes=$((64 << 20))
needed=$((16 << 30))
while [ $# -gt 0 ]; do
    case "$1" in
        --tree) tree="${2:-}"; shift 2 || die "--tree needs a directory" ;;
        --parts) parts="${2:-}"; shift 2 || die "--parts needs letters" ;;
        --runs) runs="${2:-}"; shift 2 || die "--runs needs a number" ;;
        --million) million="${2:-}"; shift 2 || die "--million needs a number" ;;
        --no-build) build=false; shift ;;
        --quick)
            tree=/usr/share/doc runs=1 million=2000 pause=0.3 image_bytes=$((16 << 20))
            sparse_bytes=$((256 << 20)) dense_bytes=$((32 << 20)) log_bytes=$((2 << 20))
            needed=$((1 << 30))
            shift
            ;;
        *) die "unknown argument $1" ;;
    esac
done
[ -d "$tree" ] || die "$tree is no directory"
tree=$(cd "$tree" && pwd)
[[ "$parts" =~ ^[A-E]+$ ]] || die "--parts needs some of the letters A to E"
[[ "$runs" =~ ^[1-9][0-9]*$ ]] || die "--runs needs a number from 1 on"
[[ "$million" =~ ^[1-9][0-9]*$ ]] || die "--million needs a number from 1 on"
[ "$(id -u)" -eq 0 ] || die "dropping caches needs root"

bash scripts/setup.sh --bench >&2
[ "$build" = false ] || cargo build --release --locked
[ -x "$BINARY" ] || die "there is no $BINARY"

largest() {
    printf '%s\n' "$@" | sort -n | tail -n 1
}

work=$(mktemp -d "${TMPDIR:-/tmp}/bench-create.XXXXXX")
trap 'rm -rf "$work"' EXIT
# The exit trap then waits for the command that runs.
trap 'exit 130' INT
trap 'exit 143' TERM
# Part A keeps two copies of each run.
if [[ "$parts" = *A* ]]; then
    tree_bytes=$(du -s -B1 "$tree" | cut -f1)
    needed=$(largest "$needed" $((tree_bytes * (2 * runs + 6))))
fi
free=$(df -B1 --output=avail "$work" | tail -n 1)
[ "$free" -ge "$needed" ] || die "$((needed >> 30)) GiB of space are needed at $work"
export RESTIC_PASSWORD=bench RESTIC_REPOSITORY="$work/restic" RESTIC_CACHE_DIR="$work/restic-cache"
export BORG_REPO="$work/borg" BORG_CACHE_DIR="$work/borg-cache" BORG_CONFIG_DIR="$work/borg-config"
# Somebody may build another one meanwhile.
mkdir "$work/bin"
cp "$BINARY" "$work/bin/icecore"
BINARY="$work/bin/icecore"
zstd=false
if "$BINARY" create --help | grep -q zstd; then zstd=true; fi

# --- measuring ------------------------------------------------------------------

progress() {
    printf '%s\n' "$*" >&2
}

# Runs a command: seconds, CPU seconds and peak MB into $seconds, $cpu and $peak,
# its output into $work/output.
measure() {
    local begin user system
    begin=${EPOCHREALTIME/./}
    /usr/bin/time -o "$work/time" -f '%U %S %M' "$@" >"$work/output" 2>"$work/errors" || {
        cat "$work/errors" >&2
        die "failed: $*"
    }
    seconds=$(calc "(${EPOCHREALTIME/./} - $begin) / 1000000" 3)
    read -r user system peak < <(tail -n 1 "$work/time")
    cpu=$(calc "$user + $system" 2)
    peak=$((peak / 1024))
}

# An arithmetic expression, with this many decimals.
calc() {
    awk "BEGIN { printf \"%.${2:-2}f\", $1 }" 2>/dev/null || echo "-"
}

# All results by name, e.g. ${samples[A.first.cold.icecore.cpu]}="2.61 2.58".
declare -A samples
sample() {
    samples[$1]="${samples[$1]:-}${samples[$1]:+ }$2"
}

# Measures a command under a name.
record() {
    local name="$1"
    shift
    measure "$@"
    sample "$name" "$seconds"
    sample "$name.cpu" "$cpu"
    sample "$name.peak" "$peak"
    progress "$name: $seconds s, $cpu CPU s, $peak MB"
}

# The median of what has a name, or "-"; seconds with two decimals from 1 s on.
median() {
    tr ' ' '\n' <<<"${samples[$1]:--}" | sort -n | awk '
        { v[NR] = $1 }
        END {
            m = v[int((NR + 1) / 2)]
            if (m ~ /\.[0-9][0-9][0-9]$/ && m >= 1) printf "%.2f\n", m; else print m
        }'
}

# The ratio of two medians, or "-".
ratio() {
    awk -v a="$(median "$1")" -v b="$(median "$2")" \
        'BEGIN { if (a != "-" && b + 0 > 0) printf "%.2f", a / b; else printf "-" }'
}

# The least and the greatest ratio of two results of the same run.
spread() {
    awk -v a="${samples[$1]:-}" -v b="${samples[$2]:-}" 'BEGIN {
        n = split(a, x, " "); split(b, y, " ")
        for (i = 1; i <= n; i++) {
            r = y[i] > 0 ? x[i] / y[i] : 0
            if (i == 1 || r < least) least = r
            if (i == 1 || r > most) most = r
        }
        printf "%.2f to %.2f", least, most
    }'
}

# A row of the last table: what is aimed at, <= or >=, the bound, two names.
targets=()
target() {
    local value reached=no
    value=$(ratio "$4" "$5")
    [ "$(awk -v v="$value" "BEGIN { print (v != \"-\" && v $2 $3) }")" = 0 ] || reached=yes
    targets+=("| $1 $2 $3 | $reached | $value ($(spread "$4" "$5")) |")
}

# A row of medians: label, then names.
row() {
    local line="| $1 |" name
    shift
    for name in "$@"; do
        line+=" $(median "$name") |"
    done
    echo "$line"
}

# A row of texts.
cells() {
    local IFS='|'
    echo "|$*|" | sed 's/|/ | /g; s/^ //; s/ $//'
}

# Makes the machine quiet, with empty caches or with a directory in them.
settle() { # cold, or warm with a directory
    sync
    if [ "$1" = cold ]; then
        echo 3 >/proc/sys/vm/drop_caches
    elif [ -n "${2:-}" ]; then
        find "$2" -type f -exec cat {} + >/dev/null
    fi
    sleep "$pause"
}

# The tools in the order of a run: each run begins with the next one.
turn() { # run, tools...
    local shift_by=$((($1 - 1) % ($# - 1)))
    shift
    local tools=("$@")
    echo "${tools[@]:shift_by}" "${tools[@]:0:shift_by}"
}

# A number of the summary of `icecore --json`, which is in $work/output, or "-".
field() {
    tail -n 1 "$work/output" | python3 -c '
import json, sys
value = json.load(sys.stdin).get(sys.argv[1])
print("-" if value is None else value)' "$1"
}

# Apparent bytes of a file or directory.
bytes_of() {
    du -sb "$1" | cut -f1
}

mib() {
    calc "$1 / 1048576" "${2:-1}"
}

percent() {
    calc "100 * $1 / $2" "${3:-1}"
}

# --- the tools ------------------------------------------------------------------

copies=0
fresh_repository() { # tool
    rm -rf "${work:?}/$1" "$work/$1-cache"
    case "$1" in
        icecore | icecore-zstd) "$BINARY" -r "$work/$1" init ;;
        restic) restic init ;;
        borg) borg init -e none ;;
        cp)
            # Each copy stays until the end of the part. ext4 does not take the inodes
            # that were deleted in the last minutes, and searches on, one by one: a copy
            # made soon after the one before was removed takes up to three times as long.
            copies=$((copies + 1))
            mkdir -p "$work/copies"
            place_of_cp="$work/copies/$copies"
            mkdir "$place_of_cp"
            ;;
    esac >/dev/null 2>"$work/errors" || {
        cat "$work/errors" >&2
        die "$1 cannot make a repository"
    }
}

# The command that saves a source, in $command.
command_of() { # tool, source
    case "$1" in
        icecore) command=("$BINARY" -r "$work/icecore" create -q "$2") ;;
        icecore-zstd)
            command=("$BINARY" -r "$work/icecore-zstd" create -q --compression zstd "$2")
            ;;
        restic) command=(restic backup -q "$2") ;;
        borg) command=(borg create -C lz4 "::$(date +%s%N)" "$2") ;;
        cp) command=(cp -a "$2" "$place_of_cp/") ;;
        mksquashfs)
            command=(mksquashfs "$2" "$work/mksquashfs" -comp lz4 -noappend -no-progress -quiet)
            ;;
        find) command=(find "$2" -printf '%s %T@\n') ;;
    esac
}

# A snapshot by icecore of a source, with numbers to ask `field` for.
create_json() { # name, source
    record "$1" "$BINARY" -r "$work/icecore" create --json "$2"
}

# --- the sources ----------------------------------------------------------------

# One directory, not a tree, of small files of distinct content.
make_million() {
    [ ! -d "$work/million" ] || return 0
    progress "Making $million files"
    mkdir "$work/million"
    (cd "$work/million" && python3 - "$million") <<'EOF'
import os, random, sys
chance = random.Random(5)
for number in range(int(sys.argv[1])):
    file = os.open("file-%07d" % number, os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(file, chance.randbytes(10).hex().encode())
    os.close(file)
EOF
}

# A file without duplicates that compresses: of each 4 KiB half is random, and
# half is sentences of a few hundred words.
make_image() { # path, bytes, seed
    progress "Making $(mib "$2" 0) MiB of data"
    python3 - "$@" <<'EOF'
import array, random, sys
path, size, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
letters = "abcdefghijklmnopqrstuvwxyz"
words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(500)]
sentences = [(" ".join(chance.choices(words, k=16)))[:32].encode() for _ in range(65536)]
assert all(len(sentence) == 32 for sentence in sentences)
with open(path, "wb", buffering=0) as file:
    left = size
    while left > 0:
        pages = min(left // 4096, 1024)
        noise = chance.randbytes(pages * 2048)
        text = b"".join(map(sentences.__getitem__, array.array("H", chance.randbytes(pages * 128))))
        file.write(b"".join(part for at in range(0, pages * 2048, 2048)
                            for part in (noise[at:at + 2048], text[at:at + 2048])))
        left -= pages * 4096
EOF
}

# Lines of JSON as an application logs them; chained: each with its own hash and
# the hash of the one before.
make_log() { # path, bytes, plain or chained
    progress "Making a $3 log of $(mib "$2" 0) MiB"
    python3 - "$@" <<'EOF'
import datetime, hashlib, random, sys
path, size, chained = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "chained"
chance = random.Random(7)
kinds = [
    ("order.created", "Order {a} with {b} items for {c}.{d:02} EUR created"),
    ("order.paid", "Payment of {c}.{d:02} EUR for order {a} received after {b} attempts"),
    ("order.shipped", "Order {a} left warehouse {b} in {d} parcels"),
    ("user.login", "Login from 10.{b}.{d}.{c} after {e} ms"),
    ("user.logout", "Session {a} ended after {c} s"),
    ("cache.miss", "Key product:{a} missed, loaded in {e} ms"),
    ("http.request", "GET /api/v1/orders/{a} answered 200 in {e} ms"),
    ("http.error", "POST /api/v1/orders/{a} answered 503 in {e} ms"),
    ("job.finished", "Job {a} finished: {c} rows in {e} ms"),
    ("stock.changed", "Stock of product {a} changed from {c} to {b}"),
]
levels = ["info"] * 17 + ["warn"] * 2 + ["error"]
regions = ["eu-central-1", "eu-west-1", "us-east-1"]
time = datetime.datetime(2026, 3, 1, 8)
previous = "0" * 64
written = number = 0
with open(path, "w", buffering=1 << 20) as file:
    while written < size:
        number += 1
        time += datetime.timedelta(milliseconds=chance.randint(0, 400))
        kind, message = chance.choice(kinds)
        values = dict(a=chance.randint(10000, 99999), b=chance.randint(1, 9),
                      c=chance.randint(1, 250), d=chance.randint(1, 99), e=chance.randint(1, 2000))
        line = (f'{{"id":"evt-{number:010}","timestamp":"{time.isoformat(timespec="milliseconds")}Z",'
                f'"level":"{chance.choice(levels)}","type":"{kind}",'
                f'"user":"user-{chance.randrange(1000):04}","message":"{message.format(**values)}",'
                f'"payload":{{"region":"{chance.choice(regions)}","ref":{values["a"]},'
                f'"count":{values["b"]},"duration_ms":{values["e"]}}}')
        if chained:
            digest = hashlib.sha256((previous + line).encode()).hexdigest()
            line += f',"previous":"{previous}","hash":"{digest}"'
            previous = digest
        line += "}\n"
        file.write(line)
        written += len(line)
    file.truncate(size)
EOF
}

# --- A: a tree ------------------------------------------------------------------

part_a() {
    local run kind tool round tools=(icecore) line place
    [ "$zstd" = false ] || tools+=(icecore-zstd)
    tools+=(restic borg cp mksquashfs)
    local repeated=(icecore restic borg find)
    # Two that do not count get past the inodes that others deleted lately.
    for round in 0 1; do
        fresh_repository cp
        command_of cp "$tree"
        measure "${command[@]}"
        progress "A copy that does not count: $seconds s, $cpu CPU s"
    done
    for run in $(seq "$runs"); do
        for kind in cold warm; do
            for tool in $(turn "$run" "${tools[@]}"); do
                fresh_repository "$tool"
                command_of "$tool" "$tree"
                settle "$kind" "$tree"
                record "A.first.$kind.$tool" "${command[@]}"
                # What is not yet on the disk when the command ends.
                measure sync
                sample "A.synced.$kind.$tool" \
                    "$(calc "${samples[A.first.$kind.$tool]##* } + $seconds" 3)"
                place="$work/$tool"
                [ "$tool" != cp ] || place=$place_of_cp
                sample "A.stored.$tool" "$(du -s --block-size=1M "$place" | cut -f1)"
            done
        done
        # The first time warms what only a second snapshot reads, and is not counted.
        for round in 0 1 2; do
            for tool in $(turn "$run" "${repeated[@]}"); do
                command_of "$tool" "$tree"
                settle warm
                if [ "$round" = 0 ]; then
                    measure "${command[@]}"
                else
                    record "A.again.$tool" "${command[@]}"
                fi
            done
        done
    done
    create_json A.read "$tree"
    line="The last unchanged snapshot read $(field files_read) files, $(field bytes_read) bytes."
    rm -rf "$work"/{icecore,icecore-zstd,restic,borg,mksquashfs}{,-cache} "$work/copies"

    tools=(icecore icecore-zstd restic borg cp mksquashfs)
    echo
    echo "### A tree: $tree"
    echo
    echo "$(find "$tree" -type f | wc -l) files, $(mib "$(bytes_of "$tree")" 0) MiB."
    echo
    echo "| create | icecore | icecore zstd | restic | borg lz4 | cp -a | mksquashfs lz4 |"
    echo "|---|---|---|---|---|---|---|"
    for kind in cold warm; do
        row "first, $kind" "${tools[@]/#/A.first.$kind.}"
        row "first, $kind, and a sync" "${tools[@]/#/A.synced.$kind.}"
    done
    for kind in cold warm; do
        line_of_ratios "first, $kind, ratio to icecore" "A.first.$kind" "${tools[@]}"
    done
    for kind in cold warm; do
        suffixed_row "CPU seconds, first, $kind" "A.first.$kind" cpu "${tools[@]}"
    done
    for kind in cold warm; do
        suffixed_row "peak MB, first, $kind" "A.first.$kind" peak "${tools[@]}"
    done
    row "MB stored" "${tools[@]/#/A.stored.}"
    echo
    echo "| unchanged | icecore | restic | borg lz4 | find -printf |"
    echo "|---|---|---|---|---|"
    row "warm" "${repeated[@]/#/A.again.}"
    line_of_ratios "warm, ratio to icecore" A.again "${repeated[@]}"
    suffixed_row "CPU seconds" A.again cpu "${repeated[@]}"
    suffixed_row "peak MB" A.again peak "${repeated[@]}"
    echo
    echo "$line"

    target "first cold: icecore / cp -a" "<=" 1 A.first.cold.icecore A.first.cold.cp
    target "first cold: restic / icecore" ">=" 2.5 A.first.cold.restic A.first.cold.icecore
    target "first cold: borg / icecore" ">=" 2.5 A.first.cold.borg A.first.cold.icecore
    target "first warm: restic / icecore" ">=" 3.5 A.first.warm.restic A.first.warm.icecore
    target "first warm: borg / icecore" ">=" 3.5 A.first.warm.borg A.first.warm.icecore
    for kind in cold warm; do
        target "CPU, first $kind: restic / icecore" ">=" 3 \
            "A.first.$kind.restic.cpu" "A.first.$kind.icecore.cpu"
    done
    target "unchanged warm: restic / icecore" ">=" 8 A.again.restic A.again.icecore
    target "unchanged warm: borg / icecore" ">=" 8 A.again.borg A.again.icecore
    target "unchanged warm: icecore / find" "<=" 2.5 A.again.icecore A.again.find
}

line_of_ratios() { # label, prefix, tools...
    local line="| $1 |" prefix="$2" tool
    shift 2
    for tool in "$@"; do
        line+=" $(ratio "$prefix.$tool" "$prefix.icecore") |"
    done
    echo "$line"
}

suffixed_row() { # label, prefix, suffix, tools...
    local label="$1" prefix="$2" suffix="$3" names=() tool
    shift 3
    for tool in "$@"; do
        names+=("$prefix.$tool.$suffix")
    done
    row "$label" "${names[@]}"
}

# --- B: a directory of a million small files --------------------------------------

part_b() {
    local run kind before
    make_million
    for run in $(seq "$runs"); do
        for kind in cold warm; do
            fresh_repository icecore
            command_of icecore "$work/million"
            settle "$kind" "$work/million"
            record "B.first.$kind" "${command[@]}"
        done
        sample B.stored "$(bytes_of "$work/icecore")"
        settle warm
        record B.again "${command[@]}"
        command_of find "$work/million"
        settle warm
        record B.find "${command[@]}"

        printf 'changed %010d\n' "$run" \
            >"$work/million/file-$(printf '%07d' $((million * run / (runs + 1))))"
        before=$(bytes_of "$work/icecore")
        settle warm
        create_json B.changed "$work/million"
        sample B.added "$(field added_bytes)"
        sample B.added_stored "$(field stored_bytes)"
        sample B.added_chunks "$(field added_chunks)"
        sample B.added_trees "$(field added_trees)"
        sample B.files_read "$(field files_read)"
        sample B.grown $(($(bytes_of "$work/icecore") - before))
    done
    rm -rf "$work/icecore"

    echo
    echo "### A directory of $million small files"
    echo
    echo "| | seconds | CPU seconds | peak MB | ratio to find -printf |"
    echo "|---|---|---|---|---|"
    for kind in "first, cold=B.first.cold" "first, warm=B.first.warm" "unchanged, warm=B.again" \
        "one file changed, warm=B.changed" "find -printf, warm=B.find"; do
        echo "$(row "${kind%%=*}" "${kind#*=}"{,.cpu,.peak}) $(ratio "${kind#*=}" B.find) |"
    done
    echo
    echo "The repository of one snapshot has $(mib "$(median B.stored)") MiB. One file changed:"
    echo "$(median B.files_read) files read, $(median B.added) bytes added" \
        "($(median B.added_chunks) chunks, $(median B.added_trees) trees)," \
        "$(median B.added_stored) as stored; \`du -sb\` of the repository grew by" \
        "$(median B.grown) bytes."
}

# --- C: a disk image ------------------------------------------------------------

part_c() {
    local image="$work/image/disk.img" rows=() pages first_chunks mean touched
    mkdir "$work/image"
    make_image "$image" "$image_bytes" 1
    fresh_repository icecore
    image_step first "first"
    first_chunks=$added_chunks
    mean=$(calc "$image_bytes / $first_chunks" 0)

    mv "$image" "$work/original.img"
    {
        head -c 12345 "$work/original.img"
        head -c 1000 /dev/urandom
        tail -c +12346 "$work/original.img"
    } >"$image"
    image_step inserted "1000 bytes inserted"

    mv "$work/original.img" "$image"
    pages=$(
        python3 - "$image" <<'EOF'
import os, random, sys
file = os.open(sys.argv[1], os.O_WRONLY)
pages = os.fstat(file).st_size // 4096
chance = random.Random(2)
chosen = chance.sample(range(pages), pages // 100)
for page in chosen:
    os.pwrite(file, chance.randbytes(4096), page * 4096)
print(len(chosen))
EOF
    )
    image_step overwritten "1 % of the pages overwritten"
    touched=$(calc "$added_chunks * $mean" 0)
    rm -rf "$work/image" "$work/icecore"

    echo
    echo "### A disk image of $(mib "$image_bytes" 0) MiB"
    echo
    echo "| cold | seconds | CPU seconds | peak MB | added bytes | as stored | added chunks |" \
        "mean of these | deduplicated % |"
    echo "|---|---|---|---|---|---|---|---|---|"
    printf '%s\n' "${rows[@]}"
    echo
    echo "Overwritten: $pages distinct pages of 4 KiB, $((pages * 4096)) bytes. The mean chunk of" \
        "the first snapshot has $mean bytes; $added_chunks times that is $touched bytes." \
        "Added: $(calc "$added_bytes / ($pages * 4096)") times the overwritten bytes."
}

# Saves the image as it is now and adds a line to $rows.
image_step() { # name, label
    local size
    size=$(bytes_of "$image")
    settle cold
    create_json "C.$1" "$image"
    added_bytes=$(field added_bytes)
    added_chunks=$(field added_chunks)
    rows+=("$(cells "$2" "$(median "C.$1")" "$cpu" "$peak" "$added_bytes" \
        "$(field stored_bytes)" "$added_chunks" "$(calc "$added_bytes / $added_chunks" 0)" \
        "$(calc "100 * (1 - $added_bytes / $size)" 3)")")
}

# --- D: memory ------------------------------------------------------------------

part_d() {
    local rows=()
    if [ -n "${samples[B.first.cold.peak]:-}" ]; then
        # shellcheck disable=SC2086 # the numbers are words
        peak=$(largest ${samples[B.first.cold.peak]} ${samples[B.first.warm.peak]})
        rows+=("$(cells "$million files, first (the most of table B)" \
            "$(median B.first.cold)" "$(median B.first.cold.cpu)" "$peak" -)")
    else
        make_million
        fresh_repository icecore
        memory_step million "$million files, first" "$work/million"
    fi
    rm -rf "$work/million"

    mkdir "$work/memory"
    truncate -s "$sparse_bytes" "$work/memory/sparse"
    python3 - "$work/memory/sparse" <<'EOF'
import os, random, sys
file = os.open(sys.argv[1], os.O_WRONLY)
size = os.fstat(file).st_size
chance = random.Random(3)
for part in range(8):
    os.pwrite(file, chance.randbytes(4096), size // 8 * part // 4096 * 4096)
EOF
    fresh_repository icecore
    memory_step sparse "sparse file of $(mib "$sparse_bytes" 0) MiB, first" "$work/memory"
    rm "$work/memory/sparse"

    make_image "$work/memory/dense" "$dense_bytes" 4
    fresh_repository icecore
    memory_step dense "dense file of $(mib "$dense_bytes" 0) MiB, first" "$work/memory"
    rm -rf "$work/memory" "$work/icecore"

    echo
    echo "### Memory"
    echo
    echo "| cold | seconds | CPU seconds | peak MB | added bytes |"
    echo "|---|---|---|---|---|"
    printf '%s\n' "${rows[@]}"
}

memory_step() { # name, label, source
    settle cold
    create_json "D.$1" "$3"
    rows+=("$(cells "$2" "$(median "D.$1")" "$cpu" "$peak" "$(field added_bytes)")")
}

# --- E: event logs --------------------------------------------------------------

part_e() {
    local form tool label size stored rows=()
    for form in plain chained; do
        mkdir "$work/log"
        make_log "$work/log/events.jsonl" "$log_bytes" "$form"
        size=$(bytes_of "$work/log/events.jsonl")
        for tool in icecore icecore-zstd borg; do
            [ "$tool" != icecore-zstd ] || [ "$zstd" = true ] || continue
            fresh_repository "$tool"
            settle cold
            case "$tool" in
                icecore)
                    label=icecore
                    create_json "E.$form.$tool" "$work/log"
                    ;;
                icecore-zstd)
                    label="icecore zstd"
                    record "E.$form.$tool" "$BINARY" -r "$work/icecore-zstd" create --json \
                        --compression zstd "$work/log"
                    ;;
                borg)
                    label="borg lz4"
                    record "E.$form.$tool" borg create --json -C lz4 ::log "$work/log"
                    ;;
            esac
            stored=$(stored_bytes)
            rows+=("$(cells "$form" "$label" "$(median "E.$form.$tool")" "$cpu" \
                "$stored" "$(percent "$stored" "$size")" "$(bytes_of "$work/$tool")")")
        done
        progress "A line: $(sed -n 1000p "$work/log/events.jsonl")"
        rm -rf "$work"/{log,icecore,icecore-zstd,borg,borg-cache}
    done
    echo
    echo "### Event logs: JSON lines of $(mib "$log_bytes" 0) MiB"
    echo
    echo "| events | tool | seconds, cold | CPU seconds | stored bytes | % of the log |" \
        "du -sb of the repository |"
    echo "|---|---|---|---|---|---|---|"
    printf '%s\n' "${rows[@]}"
}

# What the last snapshot stored, from the JSON of icecore or borg.
stored_bytes() {
    python3 -c '
import json, sys
text = sys.stdin.read()
try:
    print(json.loads(text)["archive"]["stats"]["deduplicated_size"])
except (ValueError, KeyError):
    print(json.loads(text.splitlines()[-1])["stored_bytes"])' <"$work/output"
}

# --------------------------------------------------------------------------------

echo "Machine: $(nproc) processors," \
    "$(awk '/MemTotal/ { printf "%d GiB", $2 / 1048576 }' /proc/meminfo)," \
    "$(stat -f -c %T "$work"), Linux $(uname -r)."
echo "$("$BINARY" --version), $(restic version | cut -d' ' -f1,2), $(borg --version)," \
    "mksquashfs $(mksquashfs -version | awk 'NR == 1 { print $3 }'). Medians of $runs" \
    "for tables A and B, single runs for the others."
[ "$(stat -c %d "$tree")" = "$(stat -c %d "$work")" ] ||
    echo "Beware: the tree and $work are on different file systems."
[[ "$parts" != *A* ]] || part_a
[[ "$parts" != *B* ]] || part_b
[[ "$parts" != *C* ]] || part_c
[[ "$parts" != *D* ]] || part_d
[[ "$parts" != *E* ]] || part_e
if [ "${#targets[@]}" -gt 0 ]; then
    echo
    echo "### Targets"
    echo
    echo "| target | reached | value (single runs) |"
    echo "|---|---|---|"
    printf '%s\n' "${targets[@]}"
fi
