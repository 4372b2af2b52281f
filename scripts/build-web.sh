#!/usr/bin/env bash
# build-web.sh: builds the web UI into web/dist, from where `v2c-engine serve` of this tree takes it, and from where
# an installation or a package does.  Needs Node 20.19 or newer with npm, and a package index.
. "$(dirname "$0")/lib.sh"

version=$(node --version 2>/dev/null || echo none)
if [ "$(printf '%s\n' v20.19.0 "$version" | sort -V | head -1)" != v20.19.0 ] || [ "$version" = none ]; then
    die "the web UI is built with Node 20.19 or newer; found: $version"
fi
cd web
say "building the web UI"
npm ci --no-audit --no-fund >&2
npm run build >&2
