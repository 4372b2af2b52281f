#!/usr/bin/env bash
# install-packages.sh [LIST...]: installs what of scripts/packages/LIST.txt is missing (default: build).
# For Debian 12 and Ubuntu 24.04; as root or through sudo; does nothing when nothing is missing.
. "$(dirname "$0")/lib.sh"

[ $# -gt 0 ] || set -- build
for list in "$@"; do
    [ -f "scripts/packages/$list.txt" ] || die "no list scripts/packages/$list.txt"
done
command -v dpkg-query >/dev/null || die "this system has no dpkg: install what scripts/packages/ lists by hand"

missing=$(missing_packages "$@")
[ -n "$missing" ] || exit 0

say "installing $(wc -w <<<"$missing") packages"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
# shellcheck disable=SC2086 # a list of words
if ! { as_root timeout -k 10 600 "${apt[@]}" update &&
    as_root timeout -k 10 1800 "${apt[@]}" install -y --no-install-recommends $missing; } >"$log" 2>&1 </dev/null
then
    tail -n 30 "$log" >&2
    die "could not install: $(tr '\n' ' ' <<<"$missing")"
fi
