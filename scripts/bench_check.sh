#!/usr/bin/env bash
# Measures what `icecore check` costs, and prints the table about it of
# docs/performance.md: seconds from a cold and a warm page cache, bytes read from the
# disk, peak memory; beside it `cat` of the store's files, the least that reading all
# can cost.
#
# Usage: scripts/bench_check.sh [--source DIRECTORY] [--no-build]
#
# --source: what is saved and checked (/usr). --no-build: take the binary that is
# there. Needs root to drop caches, and about the source's size in TMPDIR. Take it
# when nothing else runs.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
export LC_ALL=C

source=/usr
build=true
while [ $# -gt 0 ]; do
    case "$1" in
        --source) source="${2:-}"; shift 2 || die "--source needs a directory" ;;
        --no-build) build=false; shift ;;
        *) die "unknown argument $1" ;;
    esac
done
[ -d "$source" ] || die "$source is no directory"
[ -w /proc/sys/vm/drop_caches ] || die "dropping caches needs root"
work=$(mktemp -d "${TMPDIR:-/tmp}/icecore-bench-check-XXXXXX")
trap 'rm -rf "$work"' EXIT
if [ "$build" = true ]; then
    cargo build --release --locked
fi

python3 - "$BINARY" "$work" "$source" <<'END'
import json, os, subprocess, sys, time

binary, work, source = sys.argv[1:]
repo = f"{work}/repository"
MIB = 1 << 20


def run(arguments, cold):
    """Runs a program, and returns seconds, bytes read from the disk and peak memory."""
    if cold:
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w") as caches:
            caches.write("3\n")
    start = time.monotonic()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    seconds = time.monotonic() - start
    with open(f"/proc/{process.pid}/io") as lines:
        cost = {name: int(value) for name, value in (line.split(": ") for line in lines)}
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 3):
        sys.exit(f"{arguments} ended with {os.waitstatus_to_exitcode(status)}")
    return seconds, cost["read_bytes"], usage.ru_maxrss * 1024


def median(arguments, cold):
    runs = sorted(run(arguments, cold) for _ in range(3))
    return runs[1]


run([binary, "-r", repo, "init"], False)
run([binary, "-r", repo, "create", "--quiet", "--one-file-system", source], False)
stats = json.loads(subprocess.check_output([binary, "-r", repo, "stats", "--json"]))
tables = sorted(f"{repo}/db/{name}" for name in os.listdir(f"{repo}/db") if name.endswith(".sst"))
size = sum(os.path.getsize(table) for table in tables)
print(f"{size / MIB:,.0f} MiB in {len(tables)} files of the store; {json.dumps(stats)}")
print()
print("| | cold: s | MiB/s | read from disk, MiB | warm: s | peak memory, MiB |")
print("|---|---|---|---|---|---|")
check = [binary, "-r", repo, "check"]
rows = [
    ("`cat` of the files", ["cat", *tables], size),
    ("`check`", check, None),
    ("`check --read-data`", [*check, "--read-data"], size),
    ("`check --read-data-subset 10%`", [*check, "--read-data-subset", "10%"], None),
]
for name, arguments, amount in rows:
    cold, read, _ = median(arguments, True)
    warm, _, memory = median(arguments, False)
    rate = f"{amount / MIB / cold:,.0f}" if amount else ""
    print(f"| {name} | {cold:.2f} | {rate} | {read / MIB:,.0f} | {warm:.2f} | {memory / MIB:,.0f} |")
END
