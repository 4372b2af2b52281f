#!/usr/bin/env bash
# uninstall.sh [OPTION...]: takes back what bootstrap.sh installed; as root or through sudo.
#
# It says what goes and what stays, and asks.  Services are stopped first: workers stop at a checkpoint.
# Packages, VDDK, mounted pools, copied disks and whatever is in vCenter and CloudStack stay in any case.
#
#   --purge-state    also /var/lib/vm-migrator: what is known of every migration, finished or not
#   --list-packages  says which packages bootstrap.sh installs, so that you can remove them, and ends
#   --yes            does not ask
. "$(dirname "$0")/lib.sh"
. "$top/scripts/places.sh"
export LC_ALL=C
trap 'say "failed in line $LINENO: $BASH_COMMAND"' ERR
set -E

purge_state=false yes=false
arguments=("$@")
while [ $# -gt 0 ]; do
    case $1 in
    --purge-state) purge_state=true ;;
    --list-packages)
        lists=(build run run-convert)
        ! command -v dnf >/dev/null || lists=("${lists[@]/#/el-}")
        for list in "${lists[@]}"; do sed -n 's/^\([a-z][^ ]*\).*/\1/p' "scripts/packages/$list.txt"; done | sort -u
        exit 0
        ;;
    --yes) yes=true ;;
    -h | --help)
        sed -n '2,9s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *) die "unknown argument $1; try --help" ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || exec sudo -- "$top/scripts/uninstall.sh" "${arguments[@]}"

bin=$(recorded V2C_BIN)
bin=${bin:-/usr/local/bin/v2c-engine}
prefix=$(recorded V2C_PREFIX)
prefix=${prefix:-/usr/local}
manifest=$(manifest_of "$prefix")
program=$prefix/bin/v2c-engine

# ---- what there is -------------------------------------------------------------------------------

goes=() # files and directories
programs() { # those of the list that are below the prefix, whatever else it may say
    local path
    [ -e "$manifest" ] || return 0
    while read -r path; do
        if [[ $path == "$prefix"/* && $path != */../* ]] && [ -e "$path" ]; then echo "$path"; fi
    done <"$manifest"
}

collect() {
    local path
    mapfile -t goes < <(programs)
    if [ "$bin" != "$program" ] && [ -L "$bin" ]; then goes+=("$bin"); fi
    for path in "$unit_dir"/v2c-{engine,ui}.service{,.d/10-bootstrap.conf,.d/userspace-nfs.conf} \
        "$config" "$defaults" "$build_env" "$ui_env" "$cache_dir" /usr/lib64/guestfs/supermin.d/zz-packages-v2c; do
        if [ -e "$path" ]; then goes+=("$path"); fi
    done
    if $purge_state && [ -e "$state_dir" ]; then goes+=("$state_dir"); fi
}

# Migrations that are not at their end, by the state that each keeps for people.
unfinished() {
    local file
    for file in "$state_dir"/*/state.json; do
        if [ -e "$file" ] && ! grep -qE '"stage": *"done"' "$file"; then basename "$(dirname "$file")"; fi
    done
}

mounted_pools() { awk '$2 ~ /^\/mnt\/[0-9a-f]{8}-/ { print $2 }' /proc/self/mounts; }

# Not the services, which are stopped properly: what somebody started on a command line.
others_that_run() {
    local pid
    for pid in $(pids_of "$program"); do
        grep -qsE '/v2c-(engine|ui)\.service' "/proc/$pid/cgroup" || echo "$pid"
    done
}

tell() {
    local text
    echo "These will be removed:"
    printf '    %s\n' "${goes[@]}"
    text=$(unfinished)
    if [ -n "$text" ]; then
        echo "These migrations are not finished; snapshots in vCenter and files in pools may be theirs:"
        sed 's/^/    /' <<<"$text"
        $purge_state && echo "    With --purge-state nobody will know of them; \`v2c-engine cancel\` cleans up properly."
    fi
    $purge_state || [ ! -e "$state_dir" ] || echo "$state_dir stays (--purge-state removes it)."
    text=$(mounted_pools)
    [ -z "$text" ] || printf 'Mounted pools stay mounted:\n%s\n' "$(sed 's/^/    /' <<<"$text")"
}

confirm() { # QUESTION ANSWER
    local answer=''
    ! $yes || return 0
    [ -t 0 ] || die "nothing was removed: there is no terminal to ask on; --yes does not ask"
    read -r -p "$1 " answer
    [ "$answer" = "$2" ] || die "nothing was removed"
}

# ---- removal -------------------------------------------------------------------------------------

stop_services() {
    local unit
    systemd_runs || return 0
    for unit in "${services[@]}"; do
        [ -e "$unit_dir/$unit" ] || continue
        say "stopping $unit"
        systemctl disable --now "$unit"
    done
}

remove() {
    local path
    for path in "${goes[@]}"; do
        case $path in
        "$state_dir" | "$cache_dir") rm -rf --one-file-system "$path" ;;
        *) rm -f "$path" ;;
        esac
    done
    # The web UI has directories of its own.
    [ ! -d "$prefix/share/v2c-engine" ] || find "$prefix/share/v2c-engine" -mindepth 1 -depth -type d -empty -delete
    rmdir --ignore-fail-on-non-empty -p "$prefix"/{share/v2c-engine,libexec/v2c-engine} 2>/dev/null || true
    for path in "$unit_dir"/v2c-{engine,ui}.service.d "$config_dir" "$ui_dir"; do
        [ ! -d "$path" ] || rmdir --ignore-fail-on-non-empty "$path"
    done
    ! systemd_runs || systemctl daemon-reload
    # The user owns what is in the state directory as long as that is there.
    if [ ! -e "$state_dir" ] && getent passwd v2c >/dev/null; then
        userdel v2c
        say "removed user v2c"
    fi
}

if package=$(owned_by_package /usr/bin/v2c-engine) && [ ! -e "$manifest" ]; then
    die "v2c-engine was installed by package $package: remove that"
fi
running=$(others_that_run | tr '\n' ' ')
[ -z "$running" ] || die "v2c-engine runs (process $running): stop it first; Ctrl-C stops a run at its checkpoint"
collect
if [ ${#goes[@]} -eq 0 ]; then
    say "nothing of v2c-engine is installed"
    exit 0
fi
tell
confirm "Remove them? (yes)" yes
! $purge_state || [ ! -e "$state_dir" ] || confirm "Really forget every migration? (purge)" purge
stop_services
remove
for dir in "$config_dir" "$ui_dir"; do
    [ ! -d "$dir" ] || say "left in $dir: $(find "$dir" -mindepth 1 -printf '%P ')"
done
say "done"
