#include "config/mark_source.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "config/values.h"

/* Nothing is done to a source that the existing tool would not have done. */
void
mark_source_defaults(struct config_mark *mark)
{
    *mark = (struct config_mark){.suffix = "-migrated"};
}

/* What vCenter would have to escape is of no use in a name, and shows badly. */
static bool
is_suffix(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f || strchr("%/\\\"", *p))
            return false;
    return true;
}

void
mark_source_decode(const struct node *migration, struct config_mark *mark,
                   struct problems *problems)
{
    static const char *const keys[] = {"note", "rename", "suffix", "disconnect_nics", NULL};
    const struct node *map = node_decode_map(migration, "mark_source", problems);
    CLEANUP(free_charp) char *suffix = NULL;

    node_check_keys(map, keys, problems);
    decode_flag(map, "note", &mark->note, problems);
    decode_flag(map, "rename", &mark->rename, problems);
    decode_flag(map, "disconnect_nics", &mark->disconnect_nics, problems);
    if (!node_decode_string(map, "suffix", &suffix, problems) || !*suffix)
        return; /* not trimmed: " (migrated)" */
    if (strlen(suffix) >= sizeof(mark->suffix) || !is_suffix(suffix))
        problems_add(problems, node_get(map, "suffix"),
                     "expected at most %zu bytes without %%, quotes and slashes",
                     sizeof(mark->suffix) - 1);
    else
        (void)snprintf(mark->suffix, sizeof(mark->suffix), "%s", suffix);
}

void
mark_source_fill(struct config_mark *mark, const struct config_mark *from)
{
    if (mark->note < 0)
        mark->note = from->note;
    if (mark->rename < 0)
        mark->rename = from->rename;
    if (mark->disconnect_nics < 0)
        mark->disconnect_nics = from->disconnect_nics;
    if (!mark->suffix[0])
        memcpy(mark->suffix, from->suffix, sizeof(mark->suffix));
}

void
mark_source_append_yaml(struct str *s, const struct config_mark *mark)
{
    str_append(s, "  mark_source:\n");
    str_appendf(s, "    note: %s\n", mark->note > 0 ? "true" : "false");
    str_appendf(s, "    rename: %s\n", mark->rename > 0 ? "true" : "false");
    str_appendf(s, "    suffix: \"%s\"\n", mark->suffix); /* it has no quotes */
    str_appendf(s, "    disconnect_nics: %s\n", mark->disconnect_nics > 0 ? "true" : "false");
}
