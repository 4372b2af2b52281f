#!/usr/bin/env bash
# build.sh: installs what building needs, and builds into build/.
. "$(dirname "$0")/lib.sh"

./scripts/install-packages.sh build
build_in build -Dtests="$(with_tests)"
say "built: build/src/cli/v2c-engine"
