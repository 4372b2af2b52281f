/* The control port: plain HTTP on 127.0.0.1 through which tests and the demo look at the lab and make
 * it misbehave.  docs/internals/lab.md describes every path.
 *
 * Threading: stop it before anything that it reaches. */
#ifndef V2C_LAB_CORE_CONTROL_H
#define V2C_LAB_CORE_CONTROL_H

#include "core/lab.h"

struct lab_control;

int lab_control_start(struct lab *lab, unsigned port, struct lab_control **ret, struct err **err);
unsigned lab_control_port(const struct lab_control *control);
void lab_control_stop(struct lab_control *control);

#endif
