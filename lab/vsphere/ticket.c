/* POST /lab/nfc-ticket: what the pretend libvixDiskLib asks before it opens disks (disks/nfc.h). */
#include <string.h>

#include <jansson.h>

#include "base/util.h"
#include "core/vms.h"
#include "vsphere/inner.h"

static void
answer(struct lab_exchange *x, unsigned status, json_t *body /* taken */)
{
    char *text = json_dumps(body, JSON_COMPACT);

    lab_exchange_answer(x, status, "application/json", text, strlen(text));
    free(text);
    json_decref(body);
}

static void
refuse(struct lab_exchange *x, unsigned status, const char *why)
{
    answer(x, status, json_pack("{s:s}", "error", why));
}

/* mutex held.  The HTTP status; on 200 *ret_view is the view of the snapshot. */
static unsigned
find_view(struct lab *lab, const char *vm_moref, const char *snapshot_moref, uint64_t *ret_view)
{
    struct lab_vm *vm = lab_find_vm(lab, vm_moref);
    struct lab_snapshot *snapshot;

    if (!vm)
        return 404;
    *ret_view = 0;
    if (!*snapshot_moref)
        return lab_vm_is_on(lab, vm) ? 409 : 200;
    snapshot = lab_find_snapshot(vm, snapshot_moref);
    if (!snapshot)
        return 404;
    *ret_view = snapshot->view;
    return 200;
}

static void
serve(struct lab *lab, struct lab_exchange *x, const json_t *body)
{
    const char *user = "", *password = "", *vm = "", *snapshot = "";
    char ticket[64];
    uint64_t view = 0;
    unsigned status;

    if (json_unpack((json_t *)body, "{s:s, s:s, s:s, s?s}", "user", &user, "password", &password,
                    "vm", &vm, "snapshot", &snapshot) < 0) {
        refuse(x, 400, "expected user, password, vm and snapshot");
        return;
    }
    if (strcmp(user, lab->user) != 0 || strcmp(password, lab->password) != 0) {
        refuse(x, 401, "wrong user or password");
        return;
    }
    pthread_mutex_lock(&lab->mutex);
    status = find_view(lab, vm, snapshot, &view);
    pthread_mutex_unlock(&lab->mutex);
    if (status == 404) {
        refuse(x, 404, "no such VM or snapshot");
    } else if (status == 409) {
        refuse(x, 409, "the VM is on and no snapshot was named");
    } else {
        lab_nfc_ticket(lab, vm, view, ticket);
        answer(x, 200, json_pack("{s:i, s:s}", "port", (int)lab_nfc_port(lab), "ticket", ticket));
    }
}

void
vs_serve_ticket(struct lab *lab, struct lab_exchange *x)
{
    struct lab_fault fault;
    size_t length;
    const char *text = lab_exchange_body(x, &length);
    json_t *body;

    if (lab_fault_take(lab->faults, "nfc.ticket", &fault)) {
        if (!strncmp(fault.action, "drop", 4))
            lab_exchange_drop(x);
        else
            refuse(x, 500, "injected by the lab");
        return;
    }
    body = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    serve(lab, x, body);
    json_decref(body);
}
