/* Inside cli: configuration and specs, for the commands that are about to act on them. */
#ifndef V2C_CLI_LOAD_H
#define V2C_CLI_LOAD_H

#include "cli/options.h"
#include "config/config.h"

struct load_request {
    struct words *specs;       /* of --spec; the words behind the flags are added */
    const struct words *words; /* may be NULL */
    const char *config_path;
    struct spec_overrides overrides;
    bool is_lenient;
    bool chooses_log;       /* as @log_format says, else as the configuration does */
    const char *log_format; /* of the command line; NULL: not given */
};

/* Logs the warnings.  E_USAGE without a spec, E_CONFIG for what is wrong or missing; what was loaded of
 * the specs is freed by the caller in any case. */
int load_all(const struct load_request *request, struct config **ret_config,
             struct spec_list *ret_specs, struct err **err);

#endif
