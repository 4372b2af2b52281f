/* Rules of the source VM: what it is and in what state; its disks are in source_disks.c. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "preflight/internal.h"

#define MANY_SNAPSHOTS   24 /* of the 32 levels that ESXi has */
#define OLDEST_GOOD_ESXI "6.5"

const char *const source_privileges[] = {
    "VirtualMachine.State.CreateSnapshot",
    "VirtualMachine.State.RemoveSnapshot",
    "VirtualMachine.Provisioning.DiskRandomRead",
    "VirtualMachine.Config.ChangeTracking",
    "VirtualMachine.Provisioning.GetVmFiles",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Config.Annotation",
    "VirtualMachine.Config.EditDevice",
    "VirtualMachine.Config.Rename",
    NULL,
};

static void
check_identity(const struct subject *s, struct preflight_findings *f)
{
    const struct vsphere_vm *vm = s->vm;
    CLEANUP(err_freep) struct err *error = NULL;

    if (preflight_check_identity(s->spec, vm, &error) < 0)
        finding_add_error(f, "source.vm", PREFLIGHT_FAILURE, NULL, error);
    else if (s->spec->vm.name && strcmp(s->spec->vm.name, vm->name) != 0 &&
             (s->spec->vm.moref || s->spec->vm.uuid))
        finding_add(f, "source.vm", PREFLIGHT_WARNING, "correct vm.name, or leave it out",
                    "the VM is called \"%s\", the spec says \"%s\": going by its %s", vm->name,
                    s->spec->vm.name, s->spec->vm.moref ? "moref" : "uuid");
    else
        finding_add(f, "source.vm", PREFLIGHT_PASS, NULL,
                    "%s (%s) in datacenter %s, %" PRId32 " CPUs, %" PRId32 " MiB, %zu disks",
                    vm->name, vm->moref, vm->datacenter, vm->cpu_count, vm->memory_mib,
                    vm->disks.count);
    if (vm->is_template)
        finding_add(f, "source.template", PREFLIGHT_FAILURE,
                    "convert it to a virtual machine, or name another VM", "it is a template");
}

static void
check_state(const struct subject *s, struct preflight_findings *f)
{
    const struct vsphere_vm *vm = s->vm;
    size_t before = f->count;

    if (vm->power == VSPHERE_SUSPENDED)
        finding_add(f, "source.state", PREFLIGHT_FAILURE, "resume it, or power it off",
                    "it is suspended");
    if (*vm->connection_state && strcmp(vm->connection_state, "connected") != 0)
        finding_add(f, "source.state", PREFLIGHT_FAILURE,
                    "bring its host, or the VM's registration, back in vSphere",
                    "its connection state is %s", vm->connection_state);
    if (vm->question)
        finding_add(f, "source.state", PREFLIGHT_FAILURE, "answer it in vSphere",
                    "it waits for an answer: %s", vm->question);
    if (s->facts && s->facts->is_fault_tolerant)
        finding_add(f, "source.state", PREFLIGHT_FAILURE,
                    "turn Fault Tolerance off for the time of the migration",
                    "it is protected by Fault Tolerance, which allows no snapshots");
    if (f->count == before)
        finding_add(f, "source.state", PREFLIGHT_PASS, NULL, "connected, and powered %s",
                    vm->power == VSPHERE_POWERED_ON ? "on" : "off");
    if (vm->is_encrypted)
        finding_add(f, "source.encryption", PREFLIGHT_FAILURE,
                    "decrypt it (VM policies > storage policies); a vTPM must be removed first",
                    "it is encrypted");
    if (vm->needs_consolidation)
        finding_add(f, "source.consolidation", PREFLIGHT_FAILURE,
                    "run Snapshots > Consolidate in vSphere", "its disks need consolidation");
    else
        finding_add(f, "source.consolidation", PREFLIGHT_PASS, NULL, "not needed");
}

static void
check_hardware_version(const struct subject *s, struct preflight_findings *f)
{
    const char *version = s->vm->version;
    int number = 0;

    if (sscanf(version, "vmx-%d", &number) != 1)
        finding_add(f, "source.hardware_version", PREFLIGHT_WARNING, NULL,
                    "it is not known (\"%s\")", version);
    else if (number < 7)
        finding_add(f, "source.hardware_version", PREFLIGHT_FAILURE,
                    "upgrade the VM's compatibility",
                    "%s: changed blocks are tracked from vmx-07 on", version);
    else
        finding_add(f, "source.hardware_version", PREFLIGHT_PASS, NULL, "%s", version);
}

static void
check_tracking(const struct subject *s, struct preflight_findings *f)
{
    const struct vsphere_vm *vm = s->vm;

    if (!vm->is_cbt_supported)
        finding_add(f, "source.cbt", PREFLIGHT_FAILURE,
                    "it needs hardware version 7 or later: upgrade the VM's compatibility",
                    "it cannot track changed blocks (hardware version %s)",
                    *vm->version ? vm->version : "unknown");
    else if (!vm->is_cbt_enabled && vm->snapshots.count)
        finding_add(f, "source.cbt", PREFLIGHT_FAILURE,
                    "delete its snapshots, or turn tracking on yourself",
                    "changed-block tracking is off and cannot be turned on while it has snapshots");
    else if (vm->is_cbt_enabled && s->facts && *s->facts->untracked)
        finding_add(f, "source.cbt", PREFLIGHT_FAILURE,
                    "remove the disk's ctkEnabled key from the VM's advanced settings, or set it "
                    "to TRUE",
                    "changed-block tracking is on for the VM and off for %s", s->facts->untracked);
    else
        finding_add(f, "source.cbt", PREFLIGHT_PASS, NULL, "%s",
                    vm->is_cbt_enabled ? "on" : "off; it is turned on with the first snapshot");
}

static void
check_snapshots(const struct subject *s, struct preflight_findings *f)
{
    const struct vsphere_snapshots *snapshots = &s->vm->snapshots;

    if (s->facts && s->facts->is_snapshot_disabled)
        finding_add(f, "source.snapshots", PREFLIGHT_WARNING,
                    "see whether a task or a backup holds the VM, and check again",
                    "vSphere allows no new snapshot of it now");
    else if (snapshots->count >= MANY_SNAPSHOTS)
        finding_add(f, "source.snapshots", PREFLIGHT_WARNING, "delete those nobody needs",
                    "it has %zu snapshots: ESXi allows 32 levels", snapshots->count);
    else if (snapshots->count)
        finding_add(f, "source.snapshots", PREFLIGHT_WARNING,
                    "delete them if nobody needs them: disks are read through them, and they fill "
                    "the datastore",
                    "it has %zu snapshot%s (\"%s\")", snapshots->count,
                    snapshots->count == 1 ? "" : "s", snapshots->items[0].name);
    else
        finding_add(f, "source.snapshots", PREFLIGHT_PASS, NULL, "none");
}

static void
check_tools(const struct subject *s, struct preflight_findings *f)
{
    const struct vsphere_vm *vm = s->vm;
    bool runs = *vm->tools_status && strcmp(vm->tools_status, "guestToolsNotRunning") != 0;

    if (vm->power != VSPHERE_POWERED_ON)
        finding_add(f, "source.tools", PREFLIGHT_PASS, NULL, "not needed: the VM is off");
    else if (runs)
        finding_add(f, "source.tools", PREFLIGHT_PASS, NULL, "VMware Tools run");
    else if (s->spec->quiesce == CONFIG_QUIESCE_TRUE)
        finding_add(f, "source.tools", PREFLIGHT_WARNING,
                    "start VMware Tools in the guest, or set snapshot_quiesce: auto",
                    "VMware Tools do not run, and snapshot_quiesce is true");
    else if (s->spec->shutdown == CONFIG_SHUTDOWN_AUTO)
        finding_add(f, "source.tools", PREFLIGHT_WARNING,
                    "start VMware Tools in the guest, be there at the cutover, or consent to a "
                    "hard power-off with shutdown_mode: force",
                    "VMware Tools do not run: at the cutover somebody must shut the guest down");
    else
        finding_add(f, "source.tools", PREFLIGHT_PASS, NULL,
                    "VMware Tools do not run, and shutdown_mode does not need them");
}

static void
check_firmware(const struct subject *s, struct preflight_findings *f)
{
    const struct vsphere_vm *vm = s->vm;
    const char *mode = preflight_uefi_mode(s->spec, vm);
    bool is_efi = !strcmp(vm->firmware, "efi");

    if (is_efi != (mode != NULL))
        finding_add(f, "source.firmware", PREFLIGHT_WARNING,
                    "leave boottype out of the spec: then the source's firmware is used",
                    "the VM boots by %s, the spec says %s: such a disk rarely boots",
                    is_efi ? "UEFI" : "BIOS", mode ? "UEFI" : "BIOS");
    else if (vm->is_secure_boot && mode && strcmp(mode, "SECURE") != 0)
        finding_add(f, "source.firmware", PREFLIGHT_WARNING,
                    "set bootmode: Secure, or leave boottype and bootmode out",
                    "the VM boots by secure boot, the spec says %s",
                    s->spec->target.boot_mode ? s->spec->target.boot_mode : "Legacy");
    else
        finding_add(f, "source.firmware", PREFLIGHT_PASS, NULL, "%s",
                    !mode                     ? "BIOS"
                    : !strcmp(mode, "SECURE") ? "UEFI with secure boot"
                                              : "UEFI");
    if (vm->has_vtpm)
        finding_add(f, "source.vtpm", PREFLIGHT_WARNING,
                    "have the guest's recovery keys (BitLocker, LUKS) at hand, or suspend what "
                    "depends on the TPM before the cutover",
                    "it has a virtual TPM, whose keys do not move");
}

static void
check_guest(const struct subject *s, struct preflight_findings *f)
{
    const char *name = *s->vm->guest_full_name ? s->vm->guest_full_name : s->vm->guest_id;

    if (s->spec->run_virt_v2v && s->vm->has_vtpm)
        finding_add(
            f, "source.encryption", PREFLIGHT_WARNING,
            "try it with `v2c-engine rehearse`; decrypt the disks before the cutover, or set "
            "run_virt_v2v: false for a guest that has virtio drivers",
            "it has a virtual TPM: disks that it encrypts (BitLocker, LUKS) cannot be "
            "converted");
    if (preflight_is_windows(s->vm) && !s->spec->run_virt_v2v)
        finding_add(f, "source.guest", PREFLIGHT_WARNING,
                    "install virtio drivers in the guest before the cutover",
                    "%s boots on KVM only with virtio drivers, and run_virt_v2v is off", name);
    else
        finding_add(f, "source.guest", PREFLIGHT_PASS, NULL, "%s", name);
}

static const struct vsphere_host *
host_of(const struct subject *s)
{
    for (size_t i = 0; s->hosts && s->vm->host && i < s->hosts->count; i++)
        if (!strcmp(s->hosts->items[i].moref, s->vm->host))
            return &s->hosts->items[i];
    return NULL;
}

static void
check_host(const struct subject *s, struct preflight_findings *f)
{
    const struct vsphere_host *host = host_of(s);

    if (!host)
        return; /* the account need not see hosts */
    if (*host->connection_state && strcmp(host->connection_state, "connected") != 0)
        finding_add(f, "source.host", PREFLIGHT_WARNING, "reconnect the host in vSphere",
                    "its host %s is %s", host->name, host->connection_state);
    else if (host->is_in_maintenance)
        finding_add(f, "source.host", PREFLIGHT_WARNING, "end the maintenance, or move the VM",
                    "its host %s is in maintenance mode", host->name);
    else if (*host->version && fact_compare_versions(host->version, OLDEST_GOOD_ESXI) < 0)
        finding_add(f, "source.host", PREFLIGHT_WARNING,
                    "move the VM to a newer host, or shut it down for the migration",
                    "its host %s runs ESXi %s: changed-block tracking of versions before "
                    "6.5 is known to miss changes",
                    host->name, host->version);
    else
        finding_add(f, "source.host", PREFLIGHT_PASS, NULL, "%s, ESXi %s", host->name,
                    host->version);
}

/* Marks of the source; *ret_is_wanted (may be NULL): the spec wants that one. */
static bool
is_for_marks(const struct subject *s, const char *privilege, bool *ret_is_wanted)
{
    const struct config_mark *mark = &s->spec->mark_source;
    const struct {
        const char *privilege;
        int is_wanted;
    } needs[] = {
        {"VirtualMachine.Config.Annotation", mark->note},
        {"VirtualMachine.Config.EditDevice", mark->disconnect_nics},
        {"VirtualMachine.Config.Rename", mark->rename},
    };

    for (size_t i = 0; i < ARRAY_SIZE(needs); i++)
        if (!strcmp(privilege, needs[i].privilege)) {
            if (ret_is_wanted)
                *ret_is_wanted = needs[i].is_wanted > 0;
            return true;
        }
    return false;
}

/* Whether the lack of @privilege stops this VM's migration for certain. */
static bool
is_needed(const struct subject *s, const char *privilege)
{
    if (!strcmp(privilege, "VirtualMachine.Config.ChangeTracking"))
        return !s->vm->is_cbt_enabled;
    if (!strcmp(privilege, "VirtualMachine.Interact.PowerOff"))
        return s->spec->shutdown == CONFIG_SHUTDOWN_FORCE;
    if (is_for_marks(s, privilege, NULL)) /* never worth a failure */
        return false;
    return strcmp(privilege, "VirtualMachine.Provisioning.GetVmFiles") != 0;
}

static void
check_privileges(const struct subject *s, struct preflight_findings *f)
{
    static const char cure[] = "give the account a role with it on the VM or on a folder above";
    CLEANUP(free_charp) char *copy = xstrdup(s->missing_privileges);
    CLEANUP(str_done) struct str needed = STR_INIT(4096);
    CLEANUP(str_done) struct str others = STR_INIT(4096);

    if (!copy)
        return; /* said once, for all VMs */
    for (char *rest = copy, *word; (word = strsep(&rest, ",")) != NULL;) {
        struct str *to;
        bool is_wanted = true;

        word += strspn(word, " ");
        (void)is_for_marks(s, word, &is_wanted);
        if (!*word || !is_wanted)
            continue;
        to = is_needed(s, word) ? &needed : &others;
        str_appendf(to, "%s%s", to->length ? ", " : "", word);
    }
    if (needed.length)
        finding_add(f, "source.privileges", PREFLIGHT_FAILURE, cure, "the account lacks %s",
                    str_text(&needed));
    if (others.length)
        finding_add(f, "source.privileges", PREFLIGHT_WARNING, cure,
                    "the account lacks %s, which may be needed", str_text(&others));
    if (!needed.length && !others.length)
        finding_add(f, "source.privileges", PREFLIGHT_PASS, NULL, "the account has all it needs");
}

static void
check_finalize_at(const struct subject *s, struct preflight_findings *f)
{
    char stamp[32];

    if (!s->spec->finalize_at)
        return;
    clock_format_utc(s->spec->finalize_at, stamp);
    if (s->spec->finalize_at <= clock_wall_s())
        finding_add(f, "spec.finalize_at", PREFLIGHT_WARNING,
                    "set a later time, or give `run` --allow-past-finalize to cut over right after "
                    "the base copy",
                    "%s has passed: a migration that has not begun is refused", stamp);
    else
        finding_add(f, "spec.finalize_at", PREFLIGHT_PASS, NULL, "%s", stamp);
}

void
source_rules(const struct subject *s, struct preflight_findings *findings)
{
    check_identity(s, findings);
    check_finalize_at(s, findings);
    check_state(s, findings);
    check_host(s, findings);
    check_privileges(s, findings);
    check_hardware_version(s, findings);
    check_tracking(s, findings);
    check_snapshots(s, findings);
    check_tools(s, findings);
    check_firmware(s, findings);
    check_guest(s, findings);
}
