#!/usr/bin/env bash
# Builds icecore and puts it into a prefix (default /usr/local), with the mount
# helpers in /sbin, where mount(8) looks for them, and completions for bash, zsh
# and fish. With DESTDIR all of it goes
# below that. `scripts/install.sh --uninstall [PREFIX]` takes it away again.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

uninstall=no
if [ "${1:-}" = --uninstall ]; then
    uninstall=yes
    shift
fi
prefix="${1:-/usr/local}"
case "$prefix" in
    /*) ;;
    *) die "the prefix must be an absolute path, not $prefix" ;;
esac
[ "$#" -le 1 ] || die "one prefix is enough"

root="${DESTDIR:-}"
program="$prefix/bin/icecore"
helpers=(/sbin/mount.icecore /sbin/mount.fuse.icecore)
# A prefix of one's own leaves the system's directories alone.
if [ "$prefix" != /usr/local ] && [ "$prefix" != /usr ]; then
    helpers=("$prefix/sbin/mount.icecore" "$prefix/sbin/mount.fuse.icecore")
fi

# Where the shells look for what completes command lines.
declare -A completions=(
    [bash]="$prefix/share/bash-completion/completions/icecore"
    [zsh]="$prefix/share/zsh/site-functions/_icecore"
    [fish]="$prefix/share/fish/vendor_completions.d/icecore.fish"
)

if [ "$uninstall" = yes ]; then
    for path in "$program" "${helpers[@]}" "${completions[@]}"; do
        rm -f "$root$path"
    done
    exit 0
fi

[ -x "${ICECORE_BINARY:-}" ] || {
    say "Building"
    cargo build --release --locked
}
say "Installing into $root$prefix"
strip=()
command -v strip >/dev/null && strip=(--strip)
install -D -m 755 "${strip[@]}" "${ICECORE_BINARY:-$BINARY}" "$root$program"
for shell in "${!completions[@]}"; do
    path="$root${completions[$shell]}"
    mkdir -p "$(dirname "$path")"
    "${ICECORE_BINARY:-$BINARY}" completions "$shell" >"$path"
    chmod 644 "$path"
done
for helper in "${helpers[@]}"; do
    mkdir -p "$root$(dirname "$helper")"
    ln -sf "$program" "$root$helper"
    printf '%s -> %s\n' "$root$helper" "$program"
done
