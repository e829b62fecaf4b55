#!/usr/bin/env bash
# Installs what a Debian 12 machine with a Rust toolchain lacks. Does nothing,
# and asks nobody, if all is there. With --bench also what the benchmark
# compares with.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

case "${1:-}" in
    "" | --bench) ;;
    *) die "unknown argument $1 (there is only --bench)" ;;
esac

# clang and libclang: RocksDB is C++, and its bindings are generated. clang also
# brings the linker `cc` and the C library's headers, so that no gcc is needed.
# fuse3: unprivileged mounts. The rest: the tests compare with real tools.
packages=(clang libclang-dev fuse3 rsync attr acl libcap2-bin tar diffutils procps util-linux e2fsprogs libfaketime
    libarchive-tools python3 strace unzip zstd)
if [ "${1:-}" = --bench ]; then
    packages+=(restic borgbackup squashfs-tools python3-pyfuse3 time)
fi

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done

command -v cargo >/dev/null || die "a Rust toolchain is needed (cargo is not there)"
if [ "${#missing[@]}" -gt 0 ]; then
    command -v apt-get >/dev/null || die "install these packages: ${missing[*]}"
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "as root, install these packages: ${missing[*]}"
        as_root=(sudo)
    fi
    say "Installing ${missing[*]}"
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}"
fi
