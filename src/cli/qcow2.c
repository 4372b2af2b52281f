/* `qcow2 info|check|map FILE`: reads what we write, and any other image without a backing file, features,
 * snapshots, bitmaps or compression. */
#include "qcow2/qcow2.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/err.h"
#include "base/util.h"
#include "cli/command.h"
#include "cli/text.h"

/* As of `qemu-img check`; 1 is an error of any command. */
#define EXIT_DAMAGED 2
#define EXIT_LEAKS   3

struct qcow2_values {
    bool json, importable;
};

static const struct option_def qcow2_options[] = {
    {"json", OPTION_BOOL, offsetof(struct qcow2_values, json), NULL,
     "Print JSON; for map, what `qemu-img map --output=json` prints."},
    {"importable", OPTION_BOOL, offsetof(struct qcow2_values, importable), NULL,
     "check: fail too, with 1, when CloudStack should not be given the file as it is: it is in "
     "use, "
     "not finished, has a format or mode that its hosts may not take, or qemu-img finds fault with "
     "it."},
    OPTION_END,
};

/* ---- info ------------------------------------------------------------------------------------- */

/* Takes @value over; NULL is what becomes of a text that is no UTF-8. */
static int
print_json(const char *path, json_t *value, struct err **err)
{
    if (!value)
        return err_set(err, E_UNSUPPORTED, "%s: a name that is no UTF-8 cannot stand in JSON",
                       path);
    json_dumpf(value, stdout, JSON_INDENT(2));
    fputc('\n', stdout);
    json_decref(value);
    return 0;
}

static json_t *
pack_info(const char *path, const struct qcow2_info *info)
{
    return json_pack(
        "{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:s?}", "file", path, "version",
        (int)info->version, "virtual_size", (json_int_t)info->size, "file_size",
        (json_int_t)info->file_size, "cluster_size", (json_int_t)(1ULL << info->cluster_bits),
        "allocated_clusters", (json_int_t)info->allocated_clusters, "zero_clusters",
        (json_int_t)info->zero_clusters, "leaked_clusters", (json_int_t)info->leaked_clusters,
        "is_ours", info->is_ours, "is_finished", info->is_finished, "is_in_use", info->is_in_use,
        "owner", info->is_ours ? info->owner_id : NULL);
}

static void
print_bytes(const char *what, uint64_t bytes)
{
    struct str text = STR_INIT(64);

    text_append_bytes(&text, bytes);
    printf("%-14s %s (%" PRIu64 " bytes)\n", what, str_text(&text), bytes);
    str_done(&text);
}

static void
print_info(const char *path, const struct qcow2_info *info)
{
    uint64_t cluster = 1ULL << info->cluster_bits;
    struct str owner = STR_INIT(256);

    text_append_clean(&owner, info->owner_id, 0);
    printf("%-14s %s\n", "file", path);
    printf("%-14s QCOW2 of version %u\n", "format", info->version);
    print_bytes("virtual size", info->size);
    print_bytes("file size", info->file_size);
    printf("%-14s %" PRIu64 "\n", "cluster size", cluster);
    print_bytes("data", info->allocated_clusters * cluster);
    if (info->zero_clusters)
        print_bytes("zero clusters", info->zero_clusters * cluster);
    if (info->leaked_clusters)
        print_bytes("leaked", info->leaked_clusters * cluster);
    if (info->is_ours)
        printf("%-14s %s\n", "owner", str_text(&owner));
    printf("%-14s %s%s%s\n", "state",
           !info->is_ours ? "not made by this program" : "made by this program",
           info->is_finished ? ", finished" : ", not finished",
           info->is_in_use ? ", in use by another process" : "");
    str_done(&owner);
}

static int
run_info(const char *path, const struct qcow2_values *values, struct err **err)
{
    struct qcow2_info info;

    if (qcow2_inspect(path, &info, err) < 0)
        return -1;
    if (values->json)
        return print_json(path, pack_info(path, &info), err);
    print_info(path, &info);
    return 0;
}

/* ---- check ------------------------------------------------------------------------------------ */

static void
print_check(const struct qcow2_info *info)
{
    printf("no errors: every cluster is inside the file, used once and counted\n");
    if (info->leaked_clusters)
        printf("%" PRIu64 " clusters are counted and not used%s\n", info->leaked_clusters,
               info->is_ours && !info->is_finished
                   ? ": the migration into this file is not finished, which gives them back"
                   : ": harmless, `qemu-img check -r leaks` gives them back");
    if (info->is_in_use)
        printf("another process has the file open: this was true for a moment\n");
}

static int
run_check(const char *path, const struct qcow2_values *values, struct err **err)
{
    CLEANUP(err_freep) struct err *warning = NULL;
    struct qcow2_info info;

    if (qcow2_inspect(path, &info, err) < 0)
        return err_code(*err) == E_TARGET_DAMAGED ? EXIT_DAMAGED : -1;
    if (values->importable && qcow2_check_importable(path, info.size, &warning, err) < 0)
        return -1;
    if (warning)
        fprintf(stderr, "warning: %s\nhint: %s\n", err_message(warning), err_hint_text(warning));
    if (!values->json)
        print_check(&info);
    else if (print_json(path,
                        json_pack("{s:s, s:i, s:I, s:b, s:b}", "file", path, "errors", 0, "leaks",
                                  (json_int_t)info.leaked_clusters, "is_finished", info.is_finished,
                                  "is_in_use", info.is_in_use),
                        err) < 0)
        return -1;
    return info.leaked_clusters ? EXIT_LEAKS : 0;
}

/* ---- map -------------------------------------------------------------------------------------- */

static int
print_run(void *opaque, const struct qcow2_run *run, struct err **err)
{
    static const char *const kinds[] = {"hole", "zero", "data"};

    printf("%16" PRIu64 " %16" PRIu64 "  %s", run->offset, run->length, kinds[run->kind]);
    if (run->kind == QCOW2_RUN_DATA)
        printf("  %16" PRIu64, run->host);
    fputc('\n', stdout);
    return 0;
}

/* A run at a time: the map of a large disk need not fit into memory. */
static int
print_run_json(void *opaque, const struct qcow2_run *run, struct err **err)
{
    bool *is_first = opaque;
    bool is_data = run->kind == QCOW2_RUN_DATA;

    printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
           ", \"depth\": 0, \"present\": %s, \"zero\": %s, \"data\": %s, \"compressed\": false",
           *is_first ? "[" : ",\n", run->offset, run->length,
           run->kind == QCOW2_RUN_HOLE ? "false" : "true", is_data ? "false" : "true",
           is_data ? "true" : "false");
    if (is_data)
        printf(", \"offset\": %" PRIu64, run->host);
    fputs("}", stdout);
    *is_first = false;
    return 0;
}

static int
run_map(const char *path, const struct qcow2_values *values, struct err **err)
{
    bool is_first = true;

    if (!values->json) {
        printf("%16s %16s  %s  %16s\n", "offset", "length", "kind", "in the file");
        return qcow2_map(path, print_run, NULL, err);
    }
    if (qcow2_map(path, print_run_json, &is_first, err) < 0)
        return -1;
    puts(is_first ? "[]" : "]");
    return 0;
}

/* ---- command ---------------------------------------------------------------------------------- */

static int
run_qcow2(void *opaque, const struct words *words, struct err **err)
{
    static const struct {
        const char *name;
        int (*run)(const char *path, const struct qcow2_values *values, struct err **err);
    } actions[] = {{"info", run_info}, {"check", run_check}, {"map", run_map}};
    struct qcow2_values *values = opaque;

    if (words->count != 2)
        return err_set(err, E_USAGE, "expected info, check or map, and one file");
    if (values->importable && strcmp(words->items[0], "check") != 0)
        return err_set(err, E_USAGE, "--importable is for check");
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
        if (!strcmp(words->items[0], actions[i].name))
            return actions[i].run(words->items[1], values, err);
    return err_set(err, E_USAGE, "qcow2 %s: expected info, check or map", words->items[0]);
}

const struct command command_qcow2 = {
    .name = "qcow2",
    .words = "info|check|map FILE",
    .summary = "read a QCOW2 file: what it is, whether it is sound, what is where",
    .description =
        "Reads the tables of a QCOW2 file without trusting them. info says what the "
        "file is and whose; "
        "check says whether anything in it contradicts the rest, and counts what is "
        "leaked; map lists "
        "the whole disk in runs: holes, zeroes, and data with its place in the file.\n\n"
        "It reads files of version 2 and 3 as this program and qemu-img write them, but "
        "for those with a backing file, encryption, snapshots, bitmaps, compression or "
        "incompatible features, which it names. Nothing is changed, and a file that is "
        "in use can be "
        "read. Flags may stand behind the file.\n\n"
        "The exit status of check is that of `qemu-img check`: 0 when the file is sound, "
        "1 when it could not be checked, 2 when it is damaged, 3 when it only leaks "
        "clusters, as a migration in progress does. Of info and map it is 0 or 1.",
    .options = qcow2_options,
    .values_size = sizeof(struct qcow2_values),
    .has_late_flags = true,
    .run = run_qcow2,
};
