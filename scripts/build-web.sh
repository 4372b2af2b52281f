#!/usr/bin/env bash
# build-web.sh: builds the web UI into web/dist, from where `v2c-engine serve` of this tree takes it, and from where
# an installation or a package does.  Needs a package index of npm and, without Node 20.19 or newer, of Python.
. "$(dirname "$0")/lib.sh"

use_node || die "the web UI is built with Node 20.19 or newer, and none could be fetched"
cd web
say "building the web UI"
timeout -k 10 600 npm ci --no-audit --no-fund >&2
timeout -k 10 600 npm run build >&2
