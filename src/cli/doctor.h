/* Inside cli: what `doctor` finds.  doctor_checks.c looks, doctor.c tells. */
#ifndef V2C_CLI_DOCTOR_H
#define V2C_CLI_DOCTOR_H

#include "base/vec.h"

struct config;

enum finding_level {
    FINDING_OK,
    FINDING_WARNING, /* works, but worse than it could, or only for some */
    FINDING_PROBLEM, /* migrations cannot work like this */
};

struct finding {
    const char *name;
    enum finding_level level;
    char *found;  /* one line: what is */
    char *advice; /* what it means and what to do; NULL: nothing */
};
VEC_DECLARE(findings, struct finding);

/* Appends one finding a check, in a fixed order.  @config_path NULL: where configurations are looked
 * for.  Changes nothing but for a file that it makes in the control directory and removes. */
void doctor_look(const char *config_path, struct findings *findings);
void findings_done(struct findings *findings);

#endif
