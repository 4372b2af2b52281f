#!/usr/bin/env bash
# bootstrap.sh [OPTION...]: makes this machine run v2c-engine: packages, build, configuration, services.
#
# For Debian 12 and Ubuntu 24.04, and for Enterprise Linux 9; as root or through sudo.  It can be run again
# at any time, for a new version too: a configuration that is there is kept as it is, and no service is
# stopped, restarted, enabled or disabled that you did not ask for.  It downloads packages of the
# distribution and, for --with-ui, what the web interface is built from.
#
#   --vddk-dir DIR      where VDDK is unpacked (the directory that has lib64/)
#   --vddk-tar FILE     VDDK's archive; it is unpacked into /opt/vmware-vddk
#   --vddk-sha256 SUM   the archive must have this checksum
#   --config FILE       configuration, made from the example if it is missing (config.yaml in this tree)
#   --bin-path FILE     the program (/usr/local/bin/v2c-engine)
#   --install-service   installs the systemd units, and copies the configuration to /etc/v2c-engine/config.yaml
#                       if there is none
#   --start-services    enables and starts them (with --install-service); one that runs is left alone
#   --listen ADDRESS    where the API listens (:8000)
#   --with-ui           builds the web interface, for which it fetches npm packages and, where there is none that
#                       is new enough, Node; with --install-service its service too
#   --ui-listen ADDRESS where the web interface listens (0.0.0.0:5173)
#   --userspace-nfs     the service runs as user v2c, not as root (for storage.nfs: userspace)
#   --no-conversion     without the packages that convert guests (virt-v2v, libguestfs, QEMU)
#   --skip-build        installs what was built before, or uses what is installed
here=$PWD
. "$(dirname "$0")/lib.sh"
. "$top/scripts/places.sh"
export LC_ALL=C
trap 'say "failed in line $LINENO: $BASH_COMMAND"' ERR
set -E

usage() { sed -n '2,25s/^# \{0,1\}//p' "$top/scripts/bootstrap.sh"; }

own_config=$top/config.yaml vddk_dir='' vddk_tar='' vddk_sha256='' bin=/usr/local/bin/v2c-engine
listen='' ui_listen='' install_service=false start_services=false with_ui=false own_user=false
conversion=true build=true
arguments=("$@")
from_here() { case $1 in /*) echo "$1" ;; *) echo "$here/$1" ;; esac }
while [ $# -gt 0 ]; do
    case $1 in
    --vddk-dir | --vddk-tar | --vddk-sha256 | --config | --bin-path | --listen | --ui-listen)
        [ $# -gt 1 ] && [ -n "$2" ] || die "$1 needs a value"
        case $1 in
        --vddk-dir) vddk_dir=$(from_here "$2") ;;
        --vddk-tar) vddk_tar=$(from_here "$2") ;;
        --vddk-sha256) vddk_sha256=$2 ;;
        --config) own_config=$(from_here "$2") ;;
        --bin-path) bin=$2 ;;
        --listen) listen=$2 ;;
        --ui-listen) ui_listen=$2 ;;
        esac
        shift
        ;;
    --install-service) install_service=true ;;
    --start-services) start_services=true ;;
    --with-ui) with_ui=true ;;
    --userspace-nfs) own_user=true ;;
    --no-conversion) conversion=false ;;
    --skip-build) build=false ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) die "unknown argument $1; try --help" ;;
    esac
    shift
done

advice=() # said at the end
advise() { advice+=("$*"); }

# ---- before anything is touched ------------------------------------------------------------------

family() { # of the distribution: debian or el
    local ID='' ID_LIKE='' like
    # shellcheck disable=SC1091
    . /etc/os-release
    for like in $ID $ID_LIKE; do
        case $like in
        debian | ubuntu) echo debian; return ;;
        rhel | rocky | almalinux | centos | fedora) echo el; return ;;
        esac
    done
    die "this is for Debian, Ubuntu and Enterprise Linux, and this system is ${ID:-unknown}"
}

is_vddk() { compgen -G "$1/lib64/libvixDiskLib.so*" >/dev/null; }

check_arguments() {
    $start_services && ! $install_service && die "--start-services needs --install-service"
    if $own_user || [ -n "$listen$ui_listen" ]; then
        $install_service || die "--userspace-nfs, --listen and --ui-listen need --install-service"
    fi
    [[ $bin == /* && $bin != *[[:space:]\'\"]* ]] || die "--bin-path must be an absolute path without spaces"
    [[ $vddk_dir != *[^A-Za-z0-9/._+-]* ]] || die "the path of VDDK may have letters, digits and / . _ + - only"
    [[ $listen$ui_listen != *[[:space:]\'\"%\$]* ]] || die "an address has no spaces, quotes, % or \$"
    [ -z "$vddk_dir" ] || [ -z "$vddk_tar" ] || die "give --vddk-dir or --vddk-tar, not both"
    [ -z "$vddk_sha256" ] || [ -n "$vddk_tar" ] || die "--vddk-sha256 is the checksum of --vddk-tar"
    [ -z "$vddk_dir" ] || is_vddk "$vddk_dir" || die "$vddk_dir has no lib64/libvixDiskLib.so: it is not VDDK"
    [ -z "$vddk_tar" ] || [ -r "$vddk_tar" ] || die "cannot read $vddk_tar"
    if [ -n "$vddk_sha256" ]; then
        sha256sum --check --status <<<"${vddk_sha256,,}  $vddk_tar" ||
            die "$vddk_tar has another checksum than $vddk_sha256: it was not used"
    fi
    true
}

# The prefix that everything goes to; a program elsewhere than PREFIX/bin/v2c-engine is a link into /usr/local.
prefix=/usr/local
if [[ $bin == */bin/v2c-engine ]]; then prefix=${bin%/bin/v2c-engine}; fi
program=$prefix/bin/v2c-engine manifest=$(manifest_of "$prefix")

# A program of that name that this did not install: the existing tool's, or a package's.
check_program() {
    local package pids
    [ -e "$program" ] || return 0
    if package=$(owned_by_package "$program"); then
        die "$program belongs to package $package: remove that first, or choose another --bin-path"
    fi
    [ -e "$manifest" ] && return
    pids=$(pids_of "$program" | tr '\n' ' ')
    [ -z "$pids" ] || die "$program was not installed by this and runs (process $pids): let it finish and stop it first"
}

# ---- packages ------------------------------------------------------------------------------------

install_el() { # LIST...
    local package missing=''
    while read -r package; do
        case $package in '' | '#'*) continue ;; esac
        rpm -q --quiet "$package" || missing="$missing $package"
    done < <(for list in "$@"; do cat "scripts/packages/$list.txt"; done)
    [ -n "$missing" ] || return 0
    say "installing$missing"
    # shellcheck disable=SC2086 # a list of words
    timeout -k 10 1800 dnf -q -y install $missing >&2 </dev/null ||
        die "could not install them; are CRB and EPEL enabled?  dnf config-manager --set-enabled crb; dnf install epel-release"
}

install_packages() {
    local -a lists=(run)
    $build && lists+=(build)
    $build && $with_ui && lists+=(web)
    $conversion && lists+=(run-convert)
    case $family in
    debian) ./scripts/install-packages.sh "${lists[@]}" ;;
    el) install_el "${lists[@]/#/el-}" ;;
    esac
}

# On Enterprise Linux libguestfs leaves NTFS out of its appliance.  A list of our own beside its list; the
# appliance is made anew by itself when there is a newer list.
prepare_appliance() {
    local dir=/usr/lib64/guestfs/supermin.d
    [ "$family" = el ] && $conversion && [ -d "$dir" ] || return 0
    printf '%s\n' fuse-libs ntfs-3g ntfs-3g-libs | put "$dir/zz-packages-v2c" 0644
}

look_for_virtio_win() {
    local dir=/usr/share/virtio-win iso=''
    $conversion || return 0
    [ ! -e "$dir/virtio-win.iso" ] || return 0
    [ ! -d "$dir" ] || iso=$(find "$dir" -maxdepth 1 -name '*.iso' | sort -V | tail -n 1)
    if [ -n "$iso" ]; then
        ln -s "$(basename "$iso")" "$dir/virtio-win.iso"
        say "$dir/virtio-win.iso is $(basename "$iso")"
    else
        advise "Windows guests need the virtio-win drivers, which are not downloaded here: nobody signs that file." \
            "See docs/conversion.md, \"Drivers for Windows\"."
    fi
}

# ---- files ---------------------------------------------------------------------------------------

put() { # FILE MODE: from stdin; replaced at once or not at all, and only if it is different
    local file=$1 new
    mkdir -p "$(dirname "$file")"
    new=$(mktemp "$(dirname "$file")/.v2c.XXXXXX")
    cat >"$new"
    chmod "$2" "$new"
    if [ -f "$file" ] && cmp -s "$new" "$file"; then
        rm -f "$new"
    else
        mv -f "$new" "$file"
    fi
    chmod "$2" "$file"
}

put_if_missing() { # FILE MODE: from stdin; what is there stays, byte by byte
    if [ -e "$1" ]; then
        cat >/dev/null
        say "kept $1"
    else
        put "$1" "$2"
        say "made $1"
    fi
}

# ---- VDDK ----------------------------------------------------------------------------------------

unpack_vddk() {
    local dir=/opt/vmware-vddk new
    new=$(mktemp -d /opt/.vmware-vddk.XXXXXX)
    tar -x --no-same-owner -C "$new" -f "$vddk_tar" || { rm -rf "$new"; die "cannot unpack $vddk_tar"; }
    is_vddk "$new/vmware-vix-disklib-distrib" || {
        rm -rf "$new"
        die "$vddk_tar has no vmware-vix-disklib-distrib/lib64/libvixDiskLib.so: it is not VDDK"
    }
    chmod 755 "$new"
    if [ -e "$dir" ]; then
        rm -rf "$new"
        say "kept $dir: for the VDDK in $vddk_tar, move it away first"
    else
        mv -T "$new" "$dir"
        say "unpacked VDDK into $dir"
    fi
}

prepare_vddk() {
    [ -z "$vddk_tar" ] || unpack_vddk
    vddk_dir=$(realpath -m "${vddk_dir:-/opt/vmware-vddk/vmware-vix-disklib-distrib}")
    is_vddk "$vddk_dir" || advise "VDDK is not in $vddk_dir: see docs/vddk.md, and set migration.vddk_path in the configuration."
}

# ---- program -------------------------------------------------------------------------------------

build_program() {
    if $build; then
        if $with_ui; then
            scripts/build-web.sh || die "the web interface was not built; without --with-ui the rest is installed"
        elif [ ! -e web/dist/index.html ]; then
            say "the service comes without the web interface: --with-ui builds it"
        fi
        say "building"
        build_in build-install --prefix="$prefix" --libexecdir=libexec -Dtests=false -Dlab=false
    fi
}

install_program() {
    local stage path mode
    if [ ! -x build-install/src/cli/v2c-engine ] || ! command -v meson >/dev/null; then
        [ -x "$program" ] || die "nothing was built, and $program is not there: leave --skip-build out"
        return 0
    fi
    stage=$(mktemp -d)
    meson configure build-install --prefix="$prefix" >/dev/null
    DESTDIR=$stage meson install -C build-install >"$stage.log" 2>&1 ||
        { cat "$stage.log" >&2; die "meson install failed"; }
    [ -x "$stage$program" ] || die "meson did not install $program"
    if [ -e "$program" ] && [ ! -e "$manifest" ]; then
        mv "$program" "$program.before-bootstrap"
        say "kept the program that was there as $program.before-bootstrap"
    fi
    # Each file is replaced at once: a supervisor that runs may start a worker at any moment.
    (cd "$stage" && find . -type f -printf '/%P\n') | sort >"$stage.list"
    while read -r path; do
        mode=$(stat -c %a "$stage$path")
        put "$path" "$mode" <"$stage$path"
    done <"$stage.list"
    # What a former version had and this one has not.
    if [ -e "$manifest" ]; then
        comm -23 "$manifest" <(sort - "$stage.list" <<<"$manifest") | while read -r path; do
            [[ $path != "$prefix"/* ]] || rm -f "$path"
        done
    fi
    sort - "$stage.list" <<<"$manifest" | put "$manifest" 0644
    rm -rf "$stage" "$stage.list" "$stage.log"
    say "installed $program ($("$program" version | head -n 1))"
}

link_program() {
    [ "$bin" != "$program" ] || return 0
    mkdir -p "$(dirname "$bin")"
    [ ! -e "$bin" ] || [ -L "$bin" ] || die "$bin is there and is not a link of ours"
    ln -sfn "$program" "$bin"
}

# ---- configuration -------------------------------------------------------------------------------

make_config() {
    mkdir -p "$(dirname "$own_config")"
    sed "s|^  vddk_path: [^ ]*|  vddk_path: $vddk_dir|" examples/config.yaml | put_if_missing "$own_config" 0600
}

# Not read by anything but uninstall.sh: what was built here, from what.
record_build() {
    mkdir -p "$config_dir"
    chmod 0750 "$config_dir"
    put "$build_env" 0644 <<ENV
# Written by scripts/bootstrap.sh.  For people and scripts; no service reads it.
export V2C_BIN='$bin'
export V2C_PREFIX='$prefix'
export V2C_SOURCE='$top'
export V2C_VDDK_DIR='$vddk_dir'
ENV
    # The existing tool set LD_LIBRARY_PATH for every login.
    if grep -qs vddk /etc/profile.d/v2c-engine.sh; then
        rm -f /etc/profile.d/v2c-engine.sh
        say "removed /etc/profile.d/v2c-engine.sh of the existing tool"
    fi
}

install_config() {
    if [ "$(realpath -m "$own_config")" != "$config" ]; then
        put_if_missing "$config" 0600 <"$own_config"
        cmp -s "$own_config" "$config" || advise "$config differs from $own_config; the service uses the former."
    fi
    put_if_missing "$defaults" 0600 <examples/v2c-engine.default
    if [ -n "$(find "$defaults" -perm /077)" ]; then
        chmod 600 "$defaults"
        say "$defaults may hold secrets and could be read by others: it has mode 600 now"
    fi
    if $with_ui; then
        put_if_missing "$ui_env" 0644 <examples/v2c-ui.env
    fi
}

# ---- services ------------------------------------------------------------------------------------

# The existing tool's units, in the place that wins: they would start our program with its settings.
move_old_unit() { # UNIT
    local unit=/etc/systemd/system/$1
    if [ -f "$unit" ] && grep -qE 'LD_LIBRARY_PATH|npm run' "$unit"; then
        mv "$unit" "$unit.before-bootstrap"
        say "moved the existing tool's $unit to $unit.before-bootstrap"
    elif [ -f "$unit" ]; then
        advise "$unit was made by hand and wins over $unit_dir/$1."
    fi
}

put_unit() { # UNIT VARIABLE ADDRESS
    move_old_unit "$1"
    sed "s|^ExecStart=/usr/bin/v2c-engine |ExecStart=$bin |" "packaging/systemd/$1" | put "$unit_dir/$1" 0644
    if [ -n "$3" ]; then
        printf '# Of bootstrap.sh.  The environment file wins.\n[Service]\nEnvironment=%s=%s\n' "$2" "$3" |
            put "$unit_dir/$1.d/10-bootstrap.conf" 0644
    fi
}

make_user() {
    getent passwd v2c >/dev/null && return
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers packaging/systemd/v2c-engine.sysusers
    else
        useradd --system --user-group --home-dir "$state_dir" --shell /usr/sbin/nologin v2c
    fi
}

install_units() {
    mkdir -p "$state_dir"
    chmod 0750 "$state_dir"
    put_unit v2c-engine.service V2C_LISTEN "$listen"
    if $with_ui; then put_unit v2c-ui.service V2C_UI_LISTEN "$ui_listen"; fi
    if $own_user; then
        make_user
        put "$unit_dir/v2c-engine.service.d/userspace-nfs.conf" 0644 <packaging/systemd/userspace-nfs.conf
        chgrp v2c "$config_dir"
        chown v2c: "$config"
    fi
    if systemd_runs; then
        systemctl daemon-reload
    else
        say "systemd is not running: the units are installed, and nothing was started"
    fi
}

is_example() { grep -qE '^ *(host: vcenter\.example\.com|api_key: "your-api-key")' "$config"; }

start_units() {
    local unit
    ! is_example || die "$config still has the example's servers: edit it, then: systemctl enable --now v2c-engine"
    for unit in "${services[@]}"; do
        [ -f "$unit_dir/$unit" ] || continue
        systemctl enable "$unit"
        if systemctl -q is-active "$unit"; then
            say "$unit runs and was left alone; when it suits: systemctl restart $unit"
        else
            systemctl start "$unit"
            say "started $unit"
        fi
    done
}

# As whom the service runs: what it makes in the state directory must be the service's own.
as_service() {
    if $own_user; then
        setpriv --reuid v2c --regid v2c --init-groups "$@"
    else
        "$@"
    fi
}

# Once: a name and a password that nobody has chosen, shown on this terminal only.
make_first_admin() {
    local people password
    if $own_user; then install -d -m 0750 -o v2c -g v2c "$state_dir"; fi
    if ! people=$(as_service "$bin" user list --config "$config" 2>/dev/null); then
        say "who may sign in: $bin user add NAME --role admin --config $config makes the first administrator"
    elif [ -z "$people" ] && password=$(as_service "$bin" user add admin --role admin --generate --config "$config"); then
        say "first administrator: user admin, password $password"
        say "it is not shown again; change it after signing in, or with: $bin user password admin --config $config"
    fi
}

umask 022
check_arguments
family=$(family)
[ "$(id -u)" = 0 ] || cd "$here"
[ "$(id -u)" = 0 ] || exec sudo -- "$top/scripts/bootstrap.sh" "${arguments[@]}"
check_program
install_packages
prepare_appliance
look_for_virtio_win
prepare_vddk
build_program
install_program
link_program
make_config
record_build
if $install_service; then
    install_config
    install_units
fi
for line in ${advice[@]+"${advice[@]}"}; do say "NOTE: $line"; done
if $install_service && systemd_runs && $start_services; then start_units; fi
if $install_service; then
    own_config=$config
    make_first_admin
fi
say "done.  Next: edit $own_config, then: $bin doctor --config $own_config"
