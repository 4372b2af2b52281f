/* How the lab is told to misbehave.  A fault waits at a place, named by words such as
 * "vsphere.CreateSnapshot_Task", "nfc.open", "nfc.read", "cloudstack.importVm"; a trailing "*" matches
 * any rest.  The first `skip` passes go by, the next `count` are hit, then it is gone.
 *
 * Threading: any thread. */
#ifndef V2C_LAB_CORE_FAULTS_H
#define V2C_LAB_CORE_FAULTS_H

#include <stdbool.h>

#include <jansson.h>

struct err;
struct lab_faults;

struct lab_fault {
    char action
        [32]; /* "delay", "fail", "drop" (close the connection), "drop_after" (do it, then close
                        without answering), "expire" (the session), "lie" (place-specific) */
    char detail[256]; /* fault or error name, place-specific */
    int delay_ms;
};

struct lab_faults *lab_faults_new(void);
void lab_faults_free(struct lab_faults *faults);
/* {"where":"vsphere.*","action":"delay","detail":"","delay_ms":100,"skip":0,"count":1}; count -1: for
 * ever.  E_CONFIG. */
int lab_faults_add(struct lab_faults *faults, const json_t *fault, struct err **err);
void lab_faults_clear(struct lab_faults *faults);
/* Whether a fault hits this pass; delays have been slept already and then count as no hit. */
bool lab_fault_take(struct lab_faults *faults, const char *where, struct lab_fault *ret_fault);
/* How often each place was passed: {"cloudstack.importVm": 1, ...}.  Owned by the caller. */
json_t *lab_faults_passes(struct lab_faults *faults);

#endif
