/* The pretend CloudStack alone, for clients that others wrote: `cloudstack_lab DIR` writes DIR/ca.pem,
 * prints what lab_cloudstack_describe says on one line, and ends with its standard input.  It marks
 * started VMs as running without booting them. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "core/lab.h"
#include "guest/lab_guest.h"

/* Never asked for with "boot": "none". */
int
lab_boot_start(const struct lab_boot_plan *plan, struct lab_boot **ret, struct err **err)
{
    return err_set(err, E_BUG, "this program boots nothing");
}

void
lab_boot_state(struct lab_boot *boot, struct lab_boot_state *ret)
{
    *ret = (struct lab_boot_state){0};
}

void
lab_boot_stop(struct lab_boot *boot)
{
}

static int
start(struct lab *lab, struct err **err)
{
    CLEANUP(free_charp) char *path = file_join(lab->dir, "ca.pem"), *text = NULL;
    json_t *config = json_pack("{s:s,s:i}", "boot", "none", "job_ms", 50), *told;
    int result;

    if (lab_certificate_new(&lab->certificate, err) < 0 ||
        file_replace(path, lab->certificate.cert_pem, strlen(lab->certificate.cert_pem), 0600,
                     err) < 0) {
        json_decref(config);
        return -1;
    }
    result = lab_cloudstack_start(lab, 0, config, err);
    json_decref(config);
    if (result < 0)
        return -1;
    told = lab_cloudstack_describe(lab);
    text = json_dumps(told, JSON_COMPACT);
    json_decref(told);
    (void)puts(text);
    return fflush(stdout);
}

int
main(int argc, char **argv)
{
    struct lab lab = {0};
    struct err *err = NULL;
    char byte;
    int result;

    if (argc != 2) {
        (void)fputs("usage: cloudstack_lab DIR\n", stderr);
        return 2;
    }
    lab.dir = argv[1];
    result = start(&lab, &err);
    if (result < 0)
        fprintf(stderr, "cloudstack_lab: %s\n", err_message(err));
    while (result == 0 && read(0, &byte, 1) > 0)
        ;
    lab_cloudstack_stop(&lab);
    lab_certificate_done(&lab.certificate);
    err_free(err);
    return result < 0 ? 1 : 0;
}
