/* A vCenter that plays what a test wrote: TLS, pinned by its fingerprint, answering one scripted step
 * after another.  Connecting, login and logout are played without being written. */
#ifndef V2C_TESTS_UNIT_VSPHERE_VCENTER_H
#define V2C_TESTS_UNIT_VSPHERE_VCENTER_H

#include <stdbool.h>
#include <stddef.h>

#include "vsphere/vsphere.h"

struct step {
    const char *method;   /* that must come next */
    const char *wants;    /* must be in the request; NULL: nothing */
    const char *wants_no; /* must not be in it; NULL: nothing */
    const char *answer;   /* content of <MethodResponse>, or a whole envelope */
    const char *file;     /* the same from tests/unit/vsphere/data */
    const char *fault; /* type of a SOAP fault; answer is then its fields, text its faultstring */
    const char *text;
    int status;       /* 0: 200, or 500 for a fault */
    bool is_dropped;  /* the connection is closed instead of an answer */
    bool is_repeated; /* for as long as that method is called */
};

struct vcenter;
/* @steps ends with a method of NULL and is borrowed. */
struct vcenter *vcenter_start(const struct step *steps);
/* Steps from the start; for servers that are connected to before the script is known. */
void vcenter_play(struct vcenter *vcenter, const struct step *steps);
void vcenter_stop(struct vcenter *vcenter);
void vcenter_stopp(struct vcenter **vcenter);
/* Fails the test unless every step was played (a repeated one at least once) and nothing else came. */
void vcenter_check(struct vcenter *vcenter);
unsigned vcenter_logins(struct vcenter *vcenter);
unsigned vcenter_calls(struct vcenter *vcenter); /* steps played */

/* Before connecting: what vimServiceVersions.xml says (NULL: 404), the fault of Login, its cookie. */
void vcenter_set_versions(struct vcenter *vcenter, const char *xml);
void vcenter_set_login_fault(struct vcenter *vcenter, const char *fault);
const char *vcenter_host(const struct vcenter *vcenter); /* "127.0.0.1:PORT" */
const char *vcenter_thumbprint(const struct vcenter *vcenter);
const char *vcenter_last_action(const struct vcenter *vcenter); /* the last SOAPAction header */
const char *vcenter_last_request(const struct vcenter *vcenter);

/* Connects with user and password that need escaping, and short waits; fails the test on error. */
struct vsphere *vcenter_connect(struct vcenter *vcenter, const volatile int *cancel);

#endif
