#!/bin/bash
# Schemathesis against the real service with src/api/openapi.yaml: whatever is sent, no 5xx, no crash, no hang,
# and no answer that the contract does not allow.
#
# Schemathesis is no package of the distribution: it is installed into a directory outside the tree, once.  Where
# that is not possible the test is skipped (77).
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/v2c-fuzz
version=4.32.5
tool=$cache/venv/bin/schemathesis

if ! "$tool" --version 2>/dev/null | grep -qF "$version"; then
    rm -rf "$cache/venv"
    if ! { python3 -m venv "$cache/venv" && timeout 300 "$cache/venv/bin/pip" install -q "schemathesis==$version"; }; then
        echo "schemathesis $version cannot be installed" >&2
        exit 77
    fi
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" # where it leaves notes of its own
V2C_BUILD_DIR=${V2C_BUILD_DIR:-$top/build} python3 "$top/tests/api/with_service.py" "$work" \
    timeout 400 "$tool" --config-file "$top/tests/api/schemathesis.toml" run "$top/src/api/openapi.yaml" --url @URL@ --header "Authorization: Bearer @TOKEN@" \
    --max-examples "${V2C_FUZZ_EXAMPLES:-12}" --seed "${V2C_FUZZ_SEED:-1}" --workers 1 --request-timeout 30 \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --exclude-path /api/v1/stream --exclude-path /api/v1/logout --exclude-path /api/v1/login \
    --exclude-path /api/v1/me/password --exclude-path "/api/v1/tokens/{id}"
