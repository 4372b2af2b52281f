#include "core/control.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/child.h"
#include "base/err.h"
#include "base/util.h"
#include "core/vms.h"

#define COMPARE_TIMEOUT_MS 600000
#define COMPARE_OUTPUT     4096
#define MAX_DELAY_MS       60000

struct lab_control {
    struct lab *lab;
    struct lab_https *server;
};

/* ---- answers ---------------------------------------------------------------------------------- */

static void
answer(struct lab_exchange *x, unsigned status, json_t *body /* taken */)
{
    char *text = json_dumps(body, JSON_INDENT(1) | JSON_SORT_KEYS);

    lab_exchange_answer(x, status, "application/json", text, strlen(text));
    free(text);
    json_decref(body);
}

static void
answer_ok(struct lab_exchange *x)
{
    answer(x, 200, json_object());
}

static void
answer_error(struct lab_exchange *x, unsigned status, const char *text)
{
    answer(x, status, json_pack("{s:s}", "error", text));
}

/* Answers with the error, which is freed, or with success. */
static void
answer_result(struct lab_exchange *x, int result, struct err **err)
{
    unsigned status = 500;

    if (result == 0) {
        answer_ok(x);
        return;
    }
    if (err_code(*err) == E_CONFIG || err_code(*err) == E_LIMIT || err_code(*err) == E_UNSUPPORTED)
        status = 400;
    else if (err_code(*err) == E_VSPHERE_NOT_FOUND)
        status = 404;
    else if (err_code(*err) == E_VSPHERE_STATE || err_code(*err) == E_VSPHERE_TOOLS)
        status = 409;
    answer_error(x, status, err_message(*err));
    err_freep(err);
}

static json_t *
body_of(struct lab_exchange *x)
{
    size_t length;
    const char *text = lab_exchange_body(x, &length);
    json_t *body = length ? json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL) : json_object();

    if (json_is_object(body))
        return body;
    json_decref(body);
    answer_error(x, 400, "the body must be a JSON object");
    return NULL;
}

/* ---- state ------------------------------------------------------------------------------------ */

static void
answer_state(struct lab *lab, struct lab_exchange *x)
{
    json_t *vms = json_array();

    pthread_mutex_lock(&lab->mutex);
    for (size_t i = 0; i < lab->vms.count; i++)
        json_array_append_new(vms, lab_vm_describe(lab, lab->vms.items[i]));
    pthread_mutex_unlock(&lab->mutex);
    answer(x, 200, json_pack("{s:o, s:o}", "vms", vms, "cloudstack", lab_cloudstack_state(lab)));
}

/* ---- one VM ----------------------------------------------------------------------------------- */

static void
serve_write(struct lab_exchange *x, struct lab_vm *vm, const json_t *body)
{
    struct err *err = NULL;
    json_int_t disk = 0, offset = 0, length = 0, seed = 0;

    if (json_unpack((json_t *)body, "{s?I, s:I, s:I, s?I}", "disk", &disk, "offset", &offset,
                    "length", &length, "seed", &seed) < 0 ||
        disk < 0 || offset < 0 || length <= 0 || seed < 0) {
        answer_error(x, 400, "expected disk, offset, length and seed (0: zeroes)");
        return;
    }
    answer_result(x,
                  lab_synthetic_write(vm->machine, (unsigned)disk, (uint64_t)offset,
                                      (uint64_t)length, (uint64_t)seed, &err),
                  &err);
}

static void
serve_growth(struct lab *lab, struct lab_exchange *x, struct lab_vm *vm, const json_t *body)
{
    json_int_t disk = 0, capacity = 0;
    struct err *err = NULL;

    if (json_unpack((json_t *)body, "{s?I, s:I}", "disk", &disk, "capacity", &capacity) < 0 ||
        disk < 0 || capacity <= 0) {
        answer_error(x, 400, "expected disk and capacity in bytes");
        return;
    }
    answer_result(x, lab_vm_grow(lab, vm, (unsigned)disk, (uint64_t)capacity, &err), &err);
}

/* What a person changes by hand: name, annotation, whether a card (by key) is connected at the start. */
static void
serve_labels(struct lab *lab, struct lab_exchange *x, struct lab_vm *vm, const json_t *body)
{
    const char *name = json_string_value(json_object_get(body, "name"));
    const char *annotation = json_string_value(json_object_get(body, "annotation"));
    json_int_t nic = json_integer_value(json_object_get(body, "nic"));
    struct lab_vm_changes changes = {.has_name = name, .has_annotation = annotation};

    (void)snprintf(changes.name, sizeof(changes.name), "%s", name ? name : "");
    (void)snprintf(changes.annotation, sizeof(changes.annotation), "%s",
                   annotation ? annotation : "");
    changes.nic_count = nic ? 1 : 0;
    changes.nics[0].key = (int32_t)nic;
    changes.nics[0].starts_connected = json_is_true(json_object_get(body, "connected"));
    if (lab_vm_configure(lab, vm, &changes) < 0)
        answer_error(x, 409, "another VM has that name");
    else
        answer_ok(x);
}

static void
serve_power(struct lab *lab, struct lab_exchange *x, struct lab_vm *vm, const json_t *body)
{
    const char *state = json_string_value(json_object_get(body, "state"));
    struct err *err = NULL;

    if (state && !strcmp(state, "on"))
        answer_result(x, lab_vm_power_on(lab, vm, &err), &err);
    else if (state && !strcmp(state, "off"))
        answer_result(x, lab_vm_power_off(lab, vm, &err), &err);
    else if (state && !strcmp(state, "shutdown"))
        answer_result(x, lab_vm_shutdown(lab, vm, &err), &err);
    else
        answer_error(x, 400, "state must be on, off or shutdown");
}

/* Somebody else's snapshot: made by hand, by a backup. */
static void
serve_snapshot(struct lab *lab, struct lab_exchange *x, struct lab_vm *vm, const json_t *body)
{
    const char *name = json_string_value(json_object_get(body, "name"));
    struct err *err = NULL;
    char moref[32];
    int result = lab_vm_snapshot(lab, vm, name ? name : "before the update", "made by hand", false,
                                 moref, &err);

    if (result < 0)
        answer_result(x, result, &err);
    else
        answer(x, 200, json_pack("{s:s}", "moref", moref));
}

static void
serve_snapshot_removal(struct lab *lab, struct lab_exchange *x, struct lab_vm *vm)
{
    const char *moref = lab_exchange_param(x, "moref");
    struct err *err = NULL;
    char last[32] = "";

    pthread_mutex_lock(&lab->mutex);
    if (vm->snapshots.count)
        memcpy(last, vm->snapshots.items[vm->snapshots.count - 1].moref, sizeof(last));
    pthread_mutex_unlock(&lab->mutex);
    answer_result(x, lab_vm_remove_snapshot(lab, vm, moref ? moref : last, false, &err), &err);
}

static void
serve_compare(struct lab *lab, struct lab_exchange *x, struct lab_vm *vm)
{
    const char *disk = lab_exchange_param(x, "disk"), *file = lab_exchange_param(x, "file");
    unsigned number = disk ? (unsigned)strtoul(disk, NULL, 10) : 0;
    const char *raw = vm->machine->ops->raw_path(vm->machine, number);
    CLEANUP(free_charp) char *text = NULL;
    struct err *err = NULL;
    int status = 0;
    bool is_on;

    pthread_mutex_lock(&lab->mutex);
    is_on = lab_vm_is_on(lab, vm);
    pthread_mutex_unlock(&lab->mutex);
    if (is_on) {
        answer_error(x, 409, "the VM is on: its disks are not still");
        return;
    }
    if (!raw || !file) {
        answer_error(x, 400, "expected disk and file of a machine that has raw files");
        return;
    }
    {
        const char *const argv[] = {"qemu-img", "compare", "-f", "raw", "-F",
                                    "qcow2",    raw,       file, NULL};
        struct child_spec spec = {.argv = argv, .dies_with_parent = true};

        if (child_run(&spec, COMPARE_TIMEOUT_MS, COMPARE_OUTPUT, &text, &status, &err) < 0) {
            answer_result(x, -1, &err);
            return;
        }
    }
    answer(x, 200,
           json_pack("{s:b, s:s}", "identical", WIFEXITED(status) && WEXITSTATUS(status) == 0,
                     "text", text));
}

static void
serve_vm(struct lab *lab, struct lab_exchange *x, struct lab_vm *vm, const char *what)
{
    const char *method = lab_exchange_method(x);
    bool is_post = !strcmp(method, "POST");
    json_t *body = body_of(x);
    struct err *err = NULL;

    if (!body)
        return;
    if (is_post && !strcmp(what, "write"))
        serve_write(x, vm, body);
    else if (is_post && !strcmp(what, "grow"))
        serve_growth(lab, x, vm, body);
    else if (is_post && !strcmp(what, "labels"))
        serve_labels(lab, x, vm, body);
    else if (is_post && !strcmp(what, "power"))
        serve_power(lab, x, vm, body);
    else if (is_post && !strcmp(what, "snapshot"))
        serve_snapshot(lab, x, vm, body);
    else if (!strcmp(method, "DELETE") && !strcmp(what, "snapshot"))
        serve_snapshot_removal(lab, x, vm);
    else if (is_post && !strcmp(what, "cbt-reset"))
        answer_result(x, lab_vm_reset_cbt(lab, vm, &err), &err);
    else if (!strcmp(method, "GET") && !strcmp(what, "compare"))
        serve_compare(lab, x, vm);
    else
        answer_error(x, 404, "no such path");
    json_decref(body);
}

/* ---- paths ------------------------------------------------------------------------------------ */

static void
serve_faults(struct lab *lab, struct lab_exchange *x)
{
    const char *method = lab_exchange_method(x);
    struct err *err = NULL;
    json_t *body;

    if (!strcmp(method, "DELETE")) {
        lab_faults_clear(lab->faults);
        answer_ok(x);
        return;
    }
    if (strcmp(method, "POST") != 0) {
        answer_error(x, 404, "faults are added with POST and removed with DELETE");
        return;
    }
    body = body_of(x);
    if (body)
        answer_result(x, lab_faults_add(lab->faults, body, &err), &err);
    json_decref(body);
}

/* What is not named stays as it is. */
static void
serve_nfc(struct lab *lab, struct lab_exchange *x)
{
    struct lab_nfc_settings settings;
    json_int_t delay_ms, connection_rate, rate;
    json_t *body;

    lab_nfc_get(lab, &settings);
    delay_ms = settings.delay_ms;
    connection_rate = (json_int_t)settings.connection_rate;
    rate = (json_int_t)settings.rate;
    body = body_of(x);
    if (!body)
        return;
    if (json_unpack(body, "{s?I, s?I, s?I !}", "delay_ms", &delay_ms, "connection_rate",
                    &connection_rate, "rate", &rate) < 0 ||
        delay_ms < 0 || delay_ms > MAX_DELAY_MS || connection_rate < 0 || rate < 0) {
        answer_error(x, 400, "expected delay_ms, and in bytes/s connection_rate and rate");
    } else {
        settings.delay_ms = (unsigned)delay_ms;
        settings.connection_rate = (uint64_t)connection_rate;
        settings.rate = (uint64_t)rate;
        lab_nfc_set(lab, &settings);
        answer_ok(x);
    }
    json_decref(body);
}

/* Something that CloudStack tells is different from now on. */
static void
serve_change(struct lab *lab, struct lab_exchange *x)
{
    json_t *body = body_of(x);
    struct err *err = NULL;

    if (body)
        answer_result(x, lab_cloudstack_change(lab, body, &err), &err);
    json_decref(body);
}

static void
serve(void *opaque, struct lab_exchange *x)
{
    struct lab *lab = ((struct lab_control *)opaque)->lab;
    const char *path = lab_exchange_path(x), *method = lab_exchange_method(x);
    char moref[32], what[32], tail;

    if (!strcmp(path, "/state") && !strcmp(method, "GET")) {
        answer_state(lab, x);
    } else if (!strcmp(path, "/calls") && !strcmp(method, "GET")) {
        answer(x, 200, lab_faults_passes(lab->faults));
    } else if (!strcmp(path, "/faults")) {
        serve_faults(lab, x);
    } else if (!strcmp(path, "/nfc") && !strcmp(method, "POST")) {
        serve_nfc(lab, x);
    } else if (!strcmp(path, "/cloudstack/change") && !strcmp(method, "POST")) {
        serve_change(lab, x);
    } else if (!strcmp(path, "/sessions/expire") && !strcmp(method, "POST")) {
        lab_vsphere_expire_sessions(lab);
        answer_ok(x);
    } else if (sscanf(path, "/vms/%31[^/]/%31[^/]%c", moref, what, &tail) == 2) {
        struct lab_vm *vm;

        pthread_mutex_lock(&lab->mutex);
        vm = lab_find_vm(lab, moref);
        pthread_mutex_unlock(&lab->mutex);
        if (vm)
            serve_vm(lab, x, vm, what);
        else
            answer_error(x, 404, "no such VM");
    } else {
        answer_error(x, 404, "no such path");
    }
}

int
lab_control_start(struct lab *lab, unsigned port, struct lab_control **ret, struct err **err)
{
    struct lab_control *control = xcalloc(1, sizeof(*control));

    control->lab = lab;
    if (lab_https_start(NULL, port, serve, control, &control->server, err) < 0) {
        free(control);
        return err_wrap(err, "the control port");
    }
    *ret = control;
    return 0;
}

unsigned
lab_control_port(const struct lab_control *control)
{
    return lab_https_port(control->server);
}

void
lab_control_stop(struct lab_control *control)
{
    if (!control)
        return;
    lab_https_stop(control->server);
    free(control);
}
