# What the scripts share.  Source it: it stops the script at the first error and goes to the top folder.
# shellcheck shell=bash
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"

say() { printf '==> %s\n' "$*" >&2; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root: run it as root, or install sudo"
    fi
}

# missing_packages LIST...: those of scripts/packages/LIST.txt that are not installed.
missing_packages() {
    local package command
    local -A installed=()
    while read -r package; do
        installed[$package]=1
    done < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p')
    while read -r package command; do
        case $package in '' | '#'*) continue ;; esac
        [ -z "${installed[$package]:-}" ] || continue
        [ -z "$command" ] || ! command -v "$command" >/dev/null || continue
        echo "$package"
    done < <(for list in "$@"; do cat "scripts/packages/$list.txt"; done)
}

# build_in DIR OPTION... [-- TARGET...]: configures DIR with exactly these options and builds the targets,
# or everything.
build_in() {
    local dir=$1 log
    local -a options=() targets=()
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    [ $# -eq 0 ] || targets=("${@:2}")
    log=$(mktemp)
    if [ -f "$dir/build.ninja" ]; then
        meson configure "$dir" "${options[@]}" >"$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; return 1; }
    else
        meson setup "$dir" "${options[@]}" >"$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; return 1; }
    fi
    rm -f "$log"
    timeout -k 10 1800 ninja -C "$dir" "${targets[@]}" >&2
}

# Whether the unit tests can be built: they need a package that nothing else does.
with_tests() { if pkg-config --exists cmocka; then echo true; else echo false; fi; }
