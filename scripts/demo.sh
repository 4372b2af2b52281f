#!/usr/bin/env bash
# demo.sh [--keep] [--synthetic]: migrates a running VM from a pretend vCenter to a pretend CloudStack.
#
# Installs what is needed, builds, starts the lab on loopback, lets v2c-engine migrate a live Linux guest
# that keeps writing, asks it to finalize after two delta rounds, waits until the guest has booted on the
# other side and checked its files, and compares every disk.  The last line says how it went; the exit
# status is 0 only if everything did.
#   --keep       leaves the lab running and says how to look around
#   --synthetic  scripted disks instead of QEMU guests: no boot, but done in seconds
. "$(dirname "$0")/lib.sh"

keep=false scenario=demo boots=true
while [ $# -gt 0 ]; do
    case $1 in
    --keep) keep=true ;;
    --synthetic) scenario=demo-synthetic boots=false ;;
    -h | --help)
        sed -n '2,10p' "$0" | sed 's/^# \{0,1\}//'
        exit 0
        ;;
    *) die "unknown argument $1; try --help" ;;
    esac
    shift
done

work=$(mktemp -d /var/tmp/v2c-demo.XXXXXX)
lab_pid='' engine_pid='' done_well=false
clean_up() {
    if [ -n "$engine_pid" ]; then kill "$engine_pid" 2>/dev/null || true; fi
    if [ -n "$lab_pid" ] && { ! $keep || ! $done_well; }; then
        kill "$lab_pid" 2>/dev/null || true
        wait "$lab_pid" 2>/dev/null || true
    fi
    if $keep && $done_well; then return; fi
    if $done_well; then rm -rf "$work"; else say "logs are in $work"; fi
}
trap clean_up EXIT
trap 'exit 130' INT TERM

finish() { # MESSAGE STATUS: the last line
    echo "demo: $1"
    exit "$2"
}
# until_true SECONDS WHAT COMMAND...: polls; what it waits for is said when it gives up.
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ $SECONDS -lt $end ] || finish "0 migrated: $what did not happen in time" 1
        if [ -n "$engine_pid" ] && ! kill -0 "$engine_pid" 2>/dev/null; then
            finish "0 migrated: the engine ended before $what; see $work/control" 1
        fi
        sleep 0.2
    done
}
info() { jq -r "$1" "$work/lab/lab.json"; }
lab_state() { curl -sS --max-time 30 "$(info .control)/state"; }

./scripts/install-packages.sh build lab
say "building"
build_in build -Dtests="$(with_tests)" -- src/cli/v2c-engine src/vddk/v2c-vddk lab/v2c-lab lab/fakevddk/lib64/libvixDiskLib.so.8 lab/fakevddk/lib64/libdiskLibPlugin.so
if $boots; then
    say "preparing the guest (once; it is kept for the next time)"
    ./lab/guest/build-guest.sh >&2
fi

say "starting the lab in $work/lab"
mkdir -p "$work/lab"
# In a session of its own: with --keep it must outlive the terminal.
setsid build/lab/v2c-lab --dir "$work/lab" --scenario "lab/scenarios/$scenario.yaml" >"$work/lab.log" 2>&1 &
lab_pid=$!
until_true 60 "the start of the lab" test -s "$work/lab/lab.json"
name=$(info '.vms[0].name')
guest_says() { find "$work/lab" -path "$work/lab/boot" -prune -o -name serial.log -exec grep -ah "V2C-GUEST $1" {} +; }
guest_writes() { guest_says verified >/dev/null; }
if $boots; then
    say "waiting until the source guest is up and writes"
    until_true 120 "the boot of the source guest" guest_writes
    guest_says up >&2
fi
say "vCenter $(info .vcenter.address), CloudStack $(info .cloudstack.endpoint)"

(umask 077 && cat >"$work/config.yaml") <<YAML
vcenter:
  host: $(info .vcenter.address)
  user: $(info .vcenter.user)
  password: $(info .vcenter.password)
  thumbprint: $(info .vcenter.sha256)
cloudstack:
  endpoint: $(info .cloudstack.endpoint)
  api_key: $(info .cloudstack.api_key)
  secret_key: $(info .cloudstack.secret_key)
  thumbprint: $(info .cloudstack.sha256)
migration:
  vddk_path: $(info .vddk_path)
  control_dir: $work/control
  finalize_settle_seconds: 1
storage:
  allow_unmounted_paths: true  # the lab's pool is a directory of this machine
YAML
cat >"$work/spec.yaml" <<YAML
vm:
  name: $name
migration:
  delta_interval: 3
  start_vm_after_import: true
target:
  cloudstack:
    zoneid: $(info .cloudstack.zoneid)
    clusterid: $(info .cloudstack.clusterid)
    storageid: $(info .cloudstack.storageid)
    networkid: $(info '.cloudstack.networks | to_entries[0].value')
    serviceofferingid: $(info .cloudstack.serviceofferingid)
    diskofferingid: $(info .cloudstack.diskofferingid)
    ostypeid: $(info .cloudstack.ostypeid)
    rootdiskcontroller: virtio
    nicadapter: virtio
    nic_mappings:
      "4000": {source_label: Network adapter 1, source_index: 0, networkid: $(info '.cloudstack.networks | to_entries[0].value')}
      "4001": {source_label: Network adapter 2, source_index: 1, networkid: $(info '.cloudstack.networks | to_entries[1].value')}
YAML

say "v2c-engine run --config config.yaml --spec spec.yaml"
# On a terminal the engine draws bars; its log is kept in the VM's directory in any case.
build/src/cli/v2c-engine run --config "$work/config.yaml" --spec "$work/spec.yaml" >&2 &
engine_pid=$!
state_json() { cat "$work/control/${name}"_*/state.json 2>/dev/null || echo '{}'; }
rounds() { [ "$(state_json | jq '.delta_rounds // 0')" -ge 2 ]; } 2>/dev/null
until_true 150 "two delta rounds" rounds
say "v2c-engine finalize"
build/src/cli/v2c-engine finalize --config "$work/config.yaml" --spec "$work/spec.yaml" >&2
status=0
wait "$engine_pid" || status=$?
engine_pid=''
[ $status = 0 ] || finish "0 migrated: the engine failed (exit status $status); see $work/control" 1

imported() { lab_state | jq -e ".cloudstack.vms[] | select(.displayname == \"$name\") | $1" >/dev/null; }
booted=0
if $boots; then
    say "waiting for the guest to boot on virtio and check its files"
    until_true 90 "the boot of the imported VM" imported '.boot.is_verified'
    if imported '.state == "Running" and .boot.is_up and .boot.files > 0 and .boot.bad_files == 0'; then
        booted=1
    fi
    lab_state | jq -r ".cloudstack.vms[] | select(.displayname == \"$name\") | .boot.line" >&2
fi

say "comparing the disks with the powered-off source"
moref=$(info '.vms[0].moref') disks=0 identical=0
while IFS=$'\t' read -r index file; do
    disks=$((disks + 1))
    if curl -sS --max-time 120 -G "$(info .control)/vms/$moref/compare" --data-urlencode "disk=$index" \
        --data-urlencode "file=$file" | jq -e .identical >/dev/null; then
        identical=$((identical + 1))
    fi
done < <(state_json | jq -r '.disks | to_entries | sort_by(.value.key) | to_entries[] |
    "\(.key)\t\(.value.value.target_qcow2)"')

off=$(lab_state | jq ".vms[0].powered_off_at_ms")
on=$(lab_state | jq ".cloudstack.vms[] | select(.displayname == \"$name\") | .started_at_ms")
read -r bytes ms rounds < <(state_json | jq -r '
    "\([.disks[].base_bytes // 0] | add) \([.disks[].base_ms // 0] | max) \(.delta_rounds)"')
summary=$(awk -v down=$((on - off)) -v bytes="$bytes" -v ms="$ms" -v rounds="$rounds" 'BEGIN {
    printf "downtime %.1f s, base %.1f GiB at %.0f MiB/s, deltas %d", down / 1000, bytes / 2 ^ 30,
        bytes / 2 ^ 20 / (ms / 1000), rounds }')
say "engine: $(state_json | jq -r '"stage \(.stage), CloudStack VM \(.cloudstack_vm_id)"')"
left=$(lab_state | jq '[.vms[0].snapshots[] | select(.name | startswith("v2c-"))] | length')

wrong=''
[ "$identical" = "$disks" ] && [ "$disks" -gt 0 ] || wrong=", disks differ"
[ "$left" = 0 ] || wrong="$wrong, $left snapshots left"
if $boots && [ $booted != 1 ]; then wrong="$wrong, the guest did not come up whole"; fi
boot_text="$booted booted on CloudStack"
$boots || boot_text="boot not tried"
if [ -z "$wrong" ]; then
    done_well=true
    if $keep; then
        disown "$lab_pid"
        cat >&2 <<TXT
==> the lab goes on (pid $lab_pid; end it with: kill $lab_pid)
    everything it knows:     curl -s $(info .control)/state | jq
    pretend vCenter:         https://$(info .vcenter.address)/sdk  $(info .vcenter.user) / $(info .vcenter.password)
    pretend CloudStack:      $(info .cloudstack.endpoint)
    status:                  build/src/cli/v2c-engine status --config $work/config.yaml --spec $work/spec.yaml
    log, state:              $work/control/
    imported disks:          $(info .cloudstack.storagepath)
TXT
    fi
    finish "1 migrated, $boot_text, $identical/$disks disks identical, $summary" 0
fi
finish "1 migrated, $boot_text, $identical/$disks disks identical, $summary$wrong" 1
