#!/usr/bin/env bash
# build.sh: installs what building needs, and builds into build/.
. "$(dirname "$0")/lib.sh"

./scripts/install-packages.sh build
# The unit tests need one package more; build them where it is there.
tests=false
pkg-config --exists cmocka && tests=true
build_in build -Dtests=$tests
say "built: build/src/cli/v2c-engine"
