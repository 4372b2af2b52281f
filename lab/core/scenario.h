/* A scenario file: which VMs there are, how the vCenter behaves, and what the CloudStack is like.
 * docs/internals/lab.md describes every key. */
#ifndef V2C_LAB_CORE_SCENARIO_H
#define V2C_LAB_CORE_SCENARIO_H

#include <jansson.h>

#include "core/lab.h"

/* Fills @lab (no VMs yet) and makes every machine, those that are to run switched on.  E_CONFIG with
 * every problem of the file.  *ret_cloudstack is its `cloudstack` section, NULL without one; owned by
 * the caller. */
int lab_scenario_load(struct lab *lab, const char *path, json_t **ret_cloudstack, struct err **err);

#endif
