#include "cli/log_choice.h"

#include "base/err.h"
#include "base/log.h"
#include "config/config.h"

int
log_choose_early(const char *given, struct err **err)
{
    enum log_format format = LOG_TEXT;

    if (given && !log_format_from_name(given, &format))
        return err_set(err, E_USAGE, "--log-format %s: expected text, json or journald", given);
    return given ? log_set_format(format, err) : 0;
}

int
log_choose(const char *given, const struct config *config, struct err **err)
{
    return given ? 0 : log_set_format(config->log_format, err);
}
