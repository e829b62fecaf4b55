#!/usr/bin/env bash
# Measures what `icecore gc` costs, and prints the table about it of
# docs/performance.md: seconds, bytes read and written, peak memory, for garbage
# in a few deleted snapshots, the same amount scattered, and none.
#
# Usage: scripts/bench_gc.sh [--size BYTES[K|M|G]] [--no-build]
#
# --size: of the repository (2G). --no-build: take the binary that is there.
# About three times as much space is needed in TMPDIR. Bytes are those that went
# through read and write, as /proc/PID/io counts them, cached or not.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
export LC_ALL=C

size=2G
build=true
while [ $# -gt 0 ]; do
    case "$1" in
        --size) size="${2:-}"; shift 2 || die "--size needs a size" ;;
        --no-build) build=false; shift ;;
        *) die "unknown argument $1" ;;
    esac
done
[[ "$size" =~ ^[1-9][0-9]*[KMG]?$ ]] || die "--size needs a size such as 10G"
size=$(numfmt --from=iec "$size")
work=$(mktemp -d "${TMPDIR:-/tmp}/icecore-bench-gc-XXXXXX")
trap 'rm -rf "$work"' EXIT
free=$(df --output=avail -B1 "$work" | tail -n 1)
[ "$free" -gt $((size * 3)) ] || die "$work has not enough space for three times $size bytes"
if [ "$build" = true ]; then
    cargo build --release --locked
fi

python3 - "$BINARY" "$work" "$size" <<'EOF'
import json, os, random, shutil, subprocess, sys, time

binary, work, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
MIB = 1 << 20
FILE = 100_000
source, repo = f"{work}/source", f"{work}/repository"
chance = random.Random(5)


def command(*arguments):
    """Runs icecore, and returns what it printed and what it cost."""
    start = time.monotonic()
    process = subprocess.Popen([binary, "-r", repo, *arguments], stdout=subprocess.PIPE)
    output = process.stdout.read()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    seconds = time.monotonic() - start
    with open(f"/proc/{process.pid}/io") as lines:
        cost = {name: int(value) for name, value in (line.split(": ") for line in lines)}
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"icecore {' '.join(arguments)} ended with {status}")
    return output, seconds, cost, usage.ru_maxrss * 1024


def create():
    output, *_ = command("create", "--json", source)
    return json.loads(output.splitlines()[-1])["id"]


def fill(name, byte_count):
    os.makedirs(f"{source}/{name}", exist_ok=True)
    for number in range(max(1, byte_count // FILE)):
        with open(f"{source}/{name}/{number:06}", "wb") as file:
            file.write(chance.randbytes(FILE))


def row(label, *options):
    os.sync()
    before = json.loads(command("gc", "--dry-run", "--json", *options)[0].splitlines()[-1])
    output, seconds, cost, peak = command("gc", "--json", *options)
    report = json.loads(output.splitlines()[-1])
    garbage = before["freed_bytes"] + before["unused_bytes"]
    cells = [garbage, report["freed_bytes"], cost["rchar"], cost["wchar"]]
    numbers = [f"{cell / MIB:.1f}" for cell in cells]
    print(f"| {label} | {' | '.join(numbers)} | {seconds:.2f} | {peak / MIB:.0f} |", flush=True)


command("init")
# Fifty days, each with files of its own; the source keeps those of all days.
days = 50
for day in range(days):
    fill(f"day-{day:02}", size // days)
    create()
paths = (f"{at}/{name}" for at, _, names in os.walk(repo) for name in names)
stored = sum(os.stat(path).st_size for path in paths)
print(f"Repository of {stored / MIB:.0f} MiB, {days} snapshots, files of {FILE} bytes.\n")
print("| | garbage MiB | freed MiB | read MiB | written MiB | seconds | peak MB |")
print("|---|---|---|---|---|---|---|")
row("the first one, which joins small files")
row("nothing to do")
# Garbage of its own: a snapshot whose new files the next one lacks.
fill("gone", size // 100)
concentrated = create()
shutil.rmtree(f"{source}/gone")
create()
command("delete", "--yes", concentrated)
row("1 % in a deleted snapshot")
# Garbage everywhere: each 100th file is gone, and all snapshots that had it.
listed = json.loads(command("list", "--json")[0])
for at, _, names in os.walk(source):
    for name in names:
        if int(name) % 100 == 50:
            os.remove(f"{at}/{name}")
create()
command("delete", "--yes", *[snapshot["id"] for snapshot in listed])
row("1 % scattered")
row("1 % scattered, --max-unused 0", "--max-unused", "0")
row("nothing to do again", "--max-unused", "0")
EOF
