#!/usr/bin/env bash
# test.sh [--fast] [--suite NAME]...: installs, builds and tests everything; the last line says how it went.
#
# Suites, in the order they run: house (the gates), unit, asan (the units once more, with address and
# undefined behaviour sanitizers), flow (the real program against the lab), interop (the lab against
# clients that others wrote), api (the service under random requests), nfs (into an export of a real NFS server), crash (what power cuts leave, at
# length), guest (real guests under QEMU), package (packages and bootstrap.sh, in a clean Debian), convert (real
# guests that virt-v2v converts), web (the UI, in a browser).  --fast runs house, unit and flow.
. "$(dirname "$0")/lib.sh"

all=(house unit asan flow interop api nfs crash guest package convert web)
suites=()
while [ $# -gt 0 ]; do
    case $1 in
    --fast) suites+=(house unit flow) ;;
    --suite)
        [ $# -gt 1 ] && [[ " ${all[*]} " == *" $2 "* ]] || die "--suite takes one of: ${all[*]}"
        suites+=("$2")
        shift
        ;;
    -h | --help)
        sed -n '2,8s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *) die "unknown argument $1; try --help" ;;
    esac
    shift
done
[ ${#suites[@]} -gt 0 ] || suites=("${all[@]}")

results=$top/build/results
rm -rf "$results"
mkdir -p "$results"
export V2C_BUILD_DIR=$top/build
export ASAN_OPTIONS=halt_on_error=1:abort_on_error=1:detect_leaks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1
# The distribution's own, to which the packages belong, before any other that may stand in PATH.
python=python3
[ ! -x /usr/bin/python3 ] || python=/usr/bin/python3

# Nothing that fails here ends the script: what has no result is counted as failed.
run_meson() { # NAME LIMIT DIR meson-test-argument...
    local name=$1 limit=$2 dir=$3
    shift 3
    say "$name"
    touch "$results/$name.json"
    timeout -k 30 "$limit" meson test -C "$dir" --no-rebuild --logbase "$name" "$@" >&2 || true
    cp "$dir/meson-logs/$name.json" "$results/" 2>/dev/null || true
}

run_pytest() { # NAME LIMIT
    local name=$1 limit=$2
    compgen -G "tests/$name/test_*.py" >/dev/null || return 0
    say "$name"
    touch "$results/$name.xml"
    # Most of a flow test is waiting, and each has a directory and a lab of its own.
    local -a parallel=()
    case $name in flow) parallel=(-n 4) ;; convert) parallel=(-n 2) ;; package) parallel=(-n 3 --dist loadfile) ;; esac
    timeout -k 30 "$limit" "$python" -m pytest -q -p no:cacheprovider "${parallel[@]}" \
        --junit-xml="$results/$name.xml" "tests/$name" >&2 || true
}

has_meson_suite() { # DIR NAME
    meson test -C "$1" --no-rebuild --list --suite "$2" 2>/dev/null | grep -q ' / '
}

run_suite() {
    case $1 in
    house) run_meson house 600 build --suite house ;;
    unit) run_meson unit 1200 build --suite unit --no-suite house ;;
    asan)
        say "building with sanitizers"
        if build_in build-asan -Dtests=true -Dwerror=true -Db_sanitize=address,undefined; then
            run_meson asan 1800 build-asan --suite unit --no-suite house --timeout-multiplier 3
        else
            touch "$results/asan.json"
        fi
        ;;
    crash) run_meson crash 1800 build --suite crash ;;
    guest)
        if has_meson_suite build guest; then
            run_meson guest 1800 build --suite guest
        fi
        ;;
    web)
        use_node || say "no Node for the web UI"
        run_pytest web 3600
        ;;
    *) run_pytest "$1" 3600 ;;
    esac
}

lists=(build lab test)
for suite in package convert; do
    [[ " ${suites[*]} " != *" $suite "* ]] || lists+=("$suite")
done
./scripts/install-packages.sh "${lists[@]}"
say "building"
if build_in build -Dtests=true -Dwerror=true; then
    for suite in "${suites[@]}"; do
        run_suite "$suite"
    done
else
    touch "$results/build.json"
fi
exec "$python" tools/count-tests --allowed tests/allowed-skips.txt "$results"
