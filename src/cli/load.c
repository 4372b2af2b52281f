#include "cli/load.h"

#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/log_choice.h"

static void
show_warnings(const char *warnings)
{
    while (warnings && *warnings) {
        int length = (int)strcspn(warnings, "\n");

        if (length)
            log_warning("%.*s", length, warnings);
        warnings += length + (warnings[length] == '\n');
    }
}

int
load_all(const struct load_request *request, struct config **ret_config,
         struct spec_list *ret_specs, struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(free_charp) char *config_warnings = NULL;
    CLEANUP(free_charp) char *spec_warnings = NULL;

    for (size_t i = 0; request->words && i < request->words->count; i++)
        vec_push(request->specs, request->words->items[i]);
    if (request->specs->count == 0)
        return err_set(err, E_USAGE, "at least one --spec is needed");
    if (config_load(request->config_path, request->is_lenient, &config, &config_warnings, err) < 0)
        return -1;
    if (request->chooses_log && log_choose(request->log_format, config, err) < 0)
        return -1;
    show_warnings(config_warnings);
    if (spec_load_all(request->specs->items, request->specs->count, config, &request->overrides,
                      request->is_lenient, ret_specs, &spec_warnings, err) < 0)
        return -1;
    show_warnings(spec_warnings);
    if (ret_specs->count == 0)
        return err_set(err, E_CONFIG, "the specs name no VM");
    if (config_check_run(config, err) < 0)
        return -1;
    *ret_config = take(config);
    return 0;
}
