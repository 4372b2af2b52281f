/* Faults of vCenter, in both encodings, and what they are to us (vSphere Web Services SDK: every
 * fault is a type with fields; clients go by the type's name).  Internal to the room. */
#ifndef V2C_VSPHERE_FAULT_H
#define V2C_VSPHERE_FAULT_H

#include <stdbool.h>

struct err;
struct xml_node;

struct fault {
    char *name;               /* "InvalidPowerState"; NULL: there was none */
    char *text;               /* what the server says of it; may be empty */
    char *privilege, *object; /* of NoPermission */
    char *property;           /* of InvalidArgument */
    char *task;               /* of TaskInProgress */
    char *state;              /* existingState of InvalidPowerState */
    char *reason;             /* of GenericVmConfigFault and others */
};

void fault_done(struct fault *fault);
/* From <Fault> of SOAP. */
void fault_read_soap(const struct xml_node *node, struct fault *ret_fault);
/* From a LocalizedMethodFault: <fault xsi:type=...> and <localizedMessage>. */
void fault_read_localized(const struct xml_node *node, struct fault *ret_fault);
bool fault_is(const struct fault *fault, const char *name);
/* FileFault or one of its subclasses. */
bool fault_is_file(const struct fault *fault);
/* Whether the table knows that name. */
bool fault_is_known(const struct fault *fault);
/* Sets the error that the fault stands for; @what was asked ("CreateSnapshot_Task of vm-62"). */
int fault_set(const struct fault *fault, const char *what, struct err **err);

#endif
