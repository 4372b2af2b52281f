# Where bootstrap.sh puts things and uninstall.sh looks for them.  Source it after lib.sh.
# shellcheck shell=bash disable=SC2034 # used by those who source it

config_dir=/etc/v2c-engine
config=$config_dir/config.yaml
build_env=$config_dir/build.env
ui_dir=/etc/v2c-ui
ui_env=$ui_dir/.env.local
defaults=/etc/default/v2c-engine
state_dir=/var/lib/vm-migrator
cache_dir=/var/cache/v2c-engine
# Not /etc: what stands there is the administrator's, and wins.
unit_dir=/usr/local/lib/systemd/system
services=(v2c-engine.service v2c-ui.service)

systemd_runs() { [ -d /run/systemd/system ]; }

# The list of what was installed below a prefix.
manifest_of() { echo "$1/share/v2c-engine/installed"; }

# recorded NAME: its value in build.env, which is read and not executed.
recorded() { [ ! -e "$build_env" ] || sed -n "s/^export $1='\(.*\)'\$/\1/p" "$build_env" | tail -n 1; }

# pids_of FILE: processes that run that very file.
pids_of() {
    local exe
    for exe in /proc/[0-9]*/exe; do
        if [ "$exe" -ef "$1" ]; then basename "$(dirname "$exe")"; fi
    done
}

# owned_by_package FILE: the package that installed it.
owned_by_package() {
    if command -v dpkg-query >/dev/null && dpkg-query -S "$1" >/dev/null 2>&1; then
        dpkg-query -S "$1" | cut -d: -f1
    elif command -v rpm >/dev/null && rpm -qf "$1" >/dev/null 2>&1; then
        rpm -qf "$1"
    else
        return 1
    fi
}
