#!/usr/bin/env bash
# build-deb.sh [DIR]: builds the Debian package from this tree, into DIR (build-deb/), and prints its name.
. "$(dirname "$0")/lib.sh"

./scripts/install-packages.sh build web package
out=${1:-build-deb}
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/v2c-engine"
# What is in the tree, committed or not, and nothing that was built.
scripts/build-web.sh || say 'the package comes without the web UI'
tar -c --exclude='./build*' --exclude=./web/node_modules --exclude=./.git --exclude='__pycache__' . | tar -x -C "$work/v2c-engine"
cp -r packaging/debian "$work/v2c-engine/debian"
log=$work/log
(cd "$work/v2c-engine" && timeout 900 dpkg-buildpackage -us -uc -b >"$log" 2>&1) || {
    tail -n 40 "$log" >&2
    die "dpkg-buildpackage failed"
}
cp "$work"/v2c-engine_*.deb "$out/"
echo "$out/$(cd "$work" && ls v2c-engine_*.deb)"
