#include "centre.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/err.h"
#include "base/util.h"

/* ---- the machine ------------------------------------------------------------------------------- */

bool
centre_is_data(uint64_t offset)
{
    uint64_t mib = offset / MIB;

    return mib % 3 != 1 && mib % 17 != 5;
}

static uint64_t
word_at(uint64_t offset)
{
    uint64_t x = offset / 8 + 1;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return centre_is_data(offset) ? x ^ (x >> 31) : 0;
}

static int
machine_read(struct lab_machine *machine, unsigned disk, uint64_t view, void *data, uint32_t length,
             uint64_t offset, struct err **err)
{
    uint64_t *words = data;

    for (uint32_t i = 0; i < length / 8; i++)
        words[i] = word_at(offset + i * 8ULL);
    return 0;
}

static int
machine_allocated(struct lab_machine *machine, unsigned disk, uint64_t view, uint64_t offset,
                  uint64_t length, struct extents *extents, struct err **err)
{
    for (uint64_t at = offset, end = offset + length; at < end;) {
        uint64_t next = MIN(round_down(at, MIB) + MIB, end);

        if (centre_is_data(at))
            vec_push(extents, (struct extent){at, next - at});
        at = next;
    }
    return 0;
}

static const struct lab_machine_ops machine_ops = {
    .kind = "formula",
    .read = machine_read,
    .allocated = machine_allocated,
};

void
centre_check(const uint8_t *data, uint64_t offset, uint32_t length)
{
    for (uint32_t i = 0; i < length; i += 8) {
        uint64_t word;

        memcpy(&word, data + i, 8);
        if (word != word_at(offset + i))
            fail_msg("at %llu: %016llx, not %016llx", (unsigned long long)(offset + i),
                     (unsigned long long)word, (unsigned long long)word_at(offset + i));
    }
}

void
centre_misbehave(struct centre *centre, const char *where, const char *action, int count)
{
    json_t *fault = json_pack("{s:s, s:s, s:i}", "where", where, "action", action, "count", count);

    assert_int_equal(lab_faults_add(centre->lab.faults, fault, NULL), 0);
    json_decref(fault);
}

/* ---- the vCenter ------------------------------------------------------------------------------- */

static unsigned
judge_ticket(struct centre *centre, const json_t *request, uint64_t *ret_view)
{
    const char *user = json_string_value(json_object_get(request, "user"));
    const char *password = json_string_value(json_object_get(request, "password"));
    const char *vm = json_string_value(json_object_get(request, "vm"));
    const char *snapshot = json_string_value(json_object_get(request, "snapshot"));

    if (!user || !password || !vm || !snapshot)
        return 400;
    if (strcmp(user, CENTRE_USER) || strcmp(password, CENTRE_PASSWORD))
        return 401;
    if (strcmp(vm, CENTRE_VM) || (*snapshot && strcmp(snapshot, CENTRE_SNAPSHOT)))
        return 404;
    if (!*snapshot && centre->is_on)
        return 409;
    *ret_view = *snapshot ? 1 : 0;
    return 200;
}

static void
handle(void *opaque, struct lab_exchange *x)
{
    struct centre *centre = opaque;
    char ticket[64], text[200] = "{}";
    json_t *request;
    unsigned status;
    size_t length;
    uint64_t view;
    const char *body = lab_exchange_body(x, &length);

    request = json_loadb(body, length, 0, NULL);
    status = strcmp(lab_exchange_path(x), "/lab/nfc-ticket") ? 404
                                                             : judge_ticket(centre, request, &view);
    if (status == 200) {
        lab_nfc_ticket(&centre->lab, CENTRE_VM, view, ticket);
        snprintf(text, sizeof(text), "{\"port\": %u, \"ticket\": \"%s\"}",
                 lab_nfc_port(&centre->lab), ticket);
    }
    json_decref(request);
    lab_exchange_answer(x, status, "application/json", text, strlen(text));
}

/* ---- start and stop ---------------------------------------------------------------------------- */

void
centre_start(struct centre *centre, uint64_t capacity)
{
    struct lab_vm_disk disk = {
        .key = 2000, .path = CENTRE_PATH, .capacity = capacity, .delay_ms = -1};
    struct lab_snapshot snapshot = {.moref = CENTRE_SNAPSHOT, .view = 1};

    memset(centre, 0, sizeof(*centre));
    centre->capacity = capacity;
    centre->is_on = true;
    centre->machine = (struct lab_machine){.ops = &machine_ops, .disk_count = 1};
    centre->vm.machine = &centre->machine;
    vec_push(&snapshot.disks, disk);
    vec_push(&centre->vm.snapshots, snapshot);
    /* Since the snapshot the VM writes to another file. */
    snprintf(disk.path, sizeof(disk.path), "[ds1] web01/web01-000001.vmdk");
    vec_push(&centre->vm.disks, disk);
    snprintf(centre->vm.moref, sizeof(centre->vm.moref), CENTRE_VM);
    vec_push(&centre->lab.vms, &centre->vm);
    centre->lab.faults = lab_faults_new();
    pthread_mutex_init(&centre->lab.mutex, NULL);
    assert_int_equal(lab_certificate_new(&centre->lab.certificate, NULL), 0);
    assert_int_equal(lab_nfc_start(&centre->lab, NULL), 0);
    assert_int_equal(
        lab_https_start(&centre->lab.certificate, 0, handle, centre, &centre->https, NULL), 0);
}

void
centre_stop(struct centre *centre)
{
    lab_https_stop(centre->https);
    lab_nfc_stop(&centre->lab);
    lab_certificate_done(&centre->lab.certificate);
    pthread_mutex_destroy(&centre->lab.mutex);
    lab_faults_free(centre->lab.faults);
    vec_done(&centre->lab.vms);
    vec_done(&centre->vm.snapshots.items[0].disks);
    vec_done(&centre->vm.snapshots);
    vec_done(&centre->vm.disks);
}

const char *
centre_libdir(void)
{
    return getenv("TEST_FAKEVDDK");
}

const char *
centre_program(void)
{
    return getenv("V2C_VDDK_PROGRAM");
}

struct source_vddk_options
centre_options(const struct centre *centre, struct disk_pool *pool)
{
    return (struct source_vddk_options){
        .libdir = centre_libdir(),
        .server = "127.0.0.1",
        .port = lab_https_port(centre->https),
        .user = CENTRE_USER,
        .password = CENTRE_PASSWORD,
        .thumbprint = centre->lab.certificate.sha1,
        .vm_moref = CENTRE_VM,
        .snapshot_moref = CENTRE_SNAPSHOT,
        .disk_path = CENTRE_PATH,
        .expected_size = centre->capacity,
        .pool = pool,
        .start_timeout_ms = 20000,
        .read_timeout_ms = 20000,
    };
}
