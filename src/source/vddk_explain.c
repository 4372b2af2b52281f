#include "source/vddk_explain.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "net/net.h"

/* VDDK's error numbers that tell something.  Source: the lists that VMware publishes with its VIX and
 * VDDK documentation. */
enum {
    VIX_FAIL = 1,
    VIX_OUT_OF_MEMORY = 2,
    VIX_FILE_NOT_FOUND = 4,
    VIX_FILE_ACCESS_ERROR = 13,
    VIX_FILE_ALREADY_LOCKED = 15,
    VIX_HOST_NOT_CONNECTED = 26,
    VIX_VM_HOST_DISCONNECTED = 34,
    VIX_AUTHENTICATION_FAIL = 35,
    VIX_HOST_CONNECTION_LOST = 36,
    VIX_HOST_USER_PERMISSIONS = 3014,
    VIX_VM_NOT_FOUND = 4000,
    VIX_HOST_NETBLKDEV_HANDSHAKE = 14006,
    VIX_HOST_SERVER_NOT_AVAILABLE = 14015,
    VIX_DISK_SUBSYSTEM_INIT_FAIL = 16053,
    VIX_CANNOT_CONNECT_TO_HOST = 18000,
};

/* A host's NFC service answers "error 5: Failed to allocate the requested N bytes", which VDDK may pass on
 * as an unknown error, and logs. */
bool
vddk_is_memory(const struct vddk_wire_result *result)
{
    return result->vix_error == VIX_OUT_OF_MEMORY ||
           strcasestr(result->text, "failed to allocate the requested");
}

static bool
is_network(uint64_t vix_error)
{
    return (vix_error >= VIX_HOST_NETBLKDEV_HANDSHAKE &&
            vix_error <= VIX_HOST_SERVER_NOT_AVAILABLE) ||
           vix_error == VIX_CANNOT_CONNECT_TO_HOST || vix_error == VIX_HOST_NOT_CONNECTED ||
           vix_error == VIX_VM_HOST_DISCONNECTED || vix_error == VIX_HOST_CONNECTION_LOST;
}

static bool
is_login(uint64_t vix_error)
{
    return vix_error == VIX_AUTHENTICATION_FAIL || vix_error == VIX_HOST_USER_PERMISSIONS;
}

static int
explain_load(const struct source_vddk_options *options, const struct vddk_wire_result *result,
             struct err **err)
{
    err_set(err, E_VDDK_LIBRARY, "VDDK cannot be loaded: %s", result->text);
    if (strstr(result->text, "libssl.so.3") || strstr(result->text, "libcrypto.so.3"))
        return err_hint(err,
                        "VDDK 8.0.2 and later need OpenSSL 3 on this machine; use an older VDDK "
                        "or a newer system");
    if (strstr(result->text, "wrong ELF class") || strstr(result->text, "invalid ELF header") ||
        strstr(result->text, "file too short"))
        return err_hint(err, "the file is no library for x86_64 Linux: unpack the Linux tarball of "
                             "VDDK again");
    return err_hint(err,
                    "migration.vddk_path must be the whole unpacked folder "
                    "vmware-vix-disklib-distrib: VDDK's own libraries are looked for in %s/lib64, "
                    "and LD_LIBRARY_PATH is set to it",
                    options->libdir);
}

static int
explain_library(const struct source_vddk_options *options, const struct vddk_wire_result *result,
                struct err **err)
{
    switch (result->failure) {
    case VDDK_WIRE_FAIL_MISSING:
        err_set(err, E_VDDK_LIBRARY, "VDDK is missing: %s", result->text);
        return err_hint(err, "migration.vddk_path must name the unpacked folder "
                             "vmware-vix-disklib-distrib, with lib64/ in it");
    case VDDK_WIRE_FAIL_LOAD:
        return explain_load(options, result, err);
    case VDDK_WIRE_FAIL_SYMBOL:
        err_set(err, E_VDDK_LIBRARY, "VDDK is too old or incomplete: %s", result->text);
        return err_hint(err, "VDDK 6.5 or later is needed; 8.0 suits vSphere 6.7 to 8.0");
    default:
        err_set(err, E_VDDK_LIBRARY, "VDDK does not start: %s (error %" PRIu64 ")", result->text,
                result->vix_error);
        return err_hint(err, "V2C_LOG=debug shows what VDDK itself logs");
    }
}

static int
explain_network(const struct source_vddk_options *options, const struct vddk_wire_result *result,
                struct err **err)
{
    err_set(err, E_VDDK_CONNECT, "VDDK cannot reach %s:%u: %s (error %" PRIu64 ")", options->server,
            options->port ? options->port : 443, result->text, result->vix_error);
    return err_hint(err,
                    "this machine must resolve the name of %s and of every ESXi host, and reach "
                    "port 443 of the first and TCP port 902 of every ESXi host",
                    options->server);
}

static int
explain_login(const struct source_vddk_options *options, const struct vddk_wire_result *result,
              struct err **err)
{
    err_set(err, E_VDDK_LOGIN, "%s refuses VDDK's login as %s: %s (error %" PRIu64 ")",
            options->server, options->user, result->text, result->vix_error);
    return err_hint(err,
                    "check vcenter.user and vcenter.password; the account needs the privileges "
                    "VirtualMachine.Provisioning.GetVmFiles (allow disk access) and "
                    "DiskRandomRead");
}

/* True when the server shows another certificate than the thumbprint we gave, which then is what is
 * wrong. */
static bool
is_thumbprint_wrong(const struct source_vddk_options *options, char seen[60])
{
    /* Nothing is sent: only the certificate is looked at. */
    const struct net_trust any = {.is_insecure = true, .config_key = "vcenter"};
    CLEANUP(net_client_freep) struct net_client *client = net_client_new(&any, NULL);

    return client &&
           net_server_thumbprint(client, options->server, options->port ? options->port : 443, seen,
                                 NULL) == 0 &&
           strcasecmp(seen, options->thumbprint ? options->thumbprint : "") != 0;
}

/* VIX_E_FAIL, "unknown error", is all that VDDK says of a wrong thumbprint, a snapshot that is not
 * there, a path that is not there, a running VM without a snapshot and an independent disk. */
static int
explain_unknown(const struct source_vddk_options *options, const struct vddk_wire_result *result,
                struct err **err)
{
    char seen[60];

    if (is_thumbprint_wrong(options, seen)) {
        err_set(err, E_VDDK_OPEN,
                "VDDK does not open %s: the thumbprint of %s is %s, not %s (VDDK says: %s)",
                options->disk_path, options->server, seen,
                options->thumbprint && *options->thumbprint ? options->thumbprint : "empty",
                result->text);
        return err_hint(err, "if the certificate of %s was renewed, set vcenter.thumbprint: %s",
                        options->server, seen);
    }
    err_set(err, E_VDDK_OPEN, "VDDK does not open %s of %s, snapshot %s: %s (error %" PRIu64 ")",
            options->disk_path, options->vm_moref,
            options->snapshot_moref && *options->snapshot_moref ? options->snapshot_moref : "none",
            result->text, result->vix_error);
    return err_hint(
        err,
        "VDDK does not say why.  Check that the snapshot still exists, that the path is the one "
        "in the snapshot's configuration and not the running VM's, that a running VM is read "
        "through a snapshot, and that the disk is not independent");
}

static int
explain_disk(const struct source_vddk_options *options, const struct vddk_wire_result *result,
             struct err **err)
{
    if (result->vix_error == VIX_FAIL)
        return explain_unknown(options, result, err);
    err_set(err, E_VDDK_OPEN, "VDDK does not open %s: %s (error %" PRIu64 ")", options->disk_path,
            result->text, result->vix_error);
    switch (result->vix_error) {
    case VIX_DISK_SUBSYSTEM_INIT_FAIL:
        return err_hint(err,
                        "VDDK did not find its transport plugins in %s/lib64: unpack the whole "
                        "distribution there",
                        options->libdir);
    case VIX_FILE_NOT_FOUND:
    case VIX_VM_NOT_FOUND:
        return err_hint(err, "the VM or its disk was moved or removed since it was looked up");
    case VIX_FILE_ACCESS_ERROR:
    case VIX_FILE_ALREADY_LOCKED:
        if (options->tuning.transports && !strstr(options->tuning.transports, "nbd"))
            return err_hint(err,
                            "transport %s reads the storage itself: san needs this machine to see "
                            "the LUN, hotadd that it is a VM of that vCenter; nbdssl always works",
                            options->tuning.transports);
        return err_hint(err, "a running VM, or another backup, holds the disk: it must be read "
                             "through a snapshot");
    default:
        return err_hint(err, "V2C_LOG=debug shows what VDDK itself logs");
    }
}

static int
explain_memory(const char *what, const struct vddk_wire_result *result, struct err **err)
{
    err_set(err, E_VDDK_MEMORY,
            "%s: the ESXi host has no memory for it: %s (VDDK error %" PRIu64 ")", what,
            result->text, result->vix_error);
    return err_hint(err, "a host has a few dozen MiB for all its disk sessions together: run fewer "
                         "disks of it at once, or set migration.vddk.nfc_buffer_kb lower");
}

int
vddk_explain_open(const struct source_vddk_options *options, const struct vddk_wire_result *result,
                  struct err **err)
{
    switch (result->failure) {
    case VDDK_WIRE_FAIL_MISSING:
    case VDDK_WIRE_FAIL_LOAD:
    case VDDK_WIRE_FAIL_SYMBOL:
    case VDDK_WIRE_FAIL_INIT:
        return explain_library(options, result, err);
    case VDDK_WIRE_FAIL_CONNECT:
    case VDDK_WIRE_FAIL_OPEN:
        if (vddk_is_memory(result))
            return explain_memory(options->disk_path, result, err);
        if (is_login(result->vix_error))
            return explain_login(options, result, err);
        if (is_network(result->vix_error))
            return explain_network(options, result, err);
        return explain_disk(options, result, err);
    default:
        return err_set(err, E_VDDK_PROTOCOL, "v2c-vddk reports failure %" PRIu32 " at the open",
                       result->failure);
    }
}

int
vddk_explain_read(uint64_t offset, const struct vddk_wire_result *result, struct err **err)
{
    char what[64];

    (void)snprintf(what, sizeof(what), "read at %" PRIu64, offset);
    if (vddk_is_memory(result))
        return explain_memory(what, result, err);
    return err_set(err, E_SOURCE_READ, "%s: %s (VDDK error %" PRIu64 ")", what, result->text,
                   result->vix_error);
}
