/* Verification: what was copied is read back from the pool while the VM runs, and held against its digests
 * (verify: sample) or against the source (verify: full), as of the snapshot of a round whose disks are
 * complete.  Blocks that were verified and not written since are not looked at again.  What differs is
 * written again from the source, reported, and looked at once more. */
#include <inttypes.h>

#include "base/clock.h"
#include "migration/internal.h"

#define PASSES 3 /* of which the last must find nothing */

bool
migration_was_verified(const struct migration *m)
{
    for (size_t i = 0; i < m->disks.count; i++)
        if (m->disks.items[i].verified_at)
            return true;
    return false;
}

static int
verify_complete(struct migration *m, size_t index, struct err **err)
{
    m->disks.items[index].verified_at = clock_wall_s();
    return migration_save(m, err);
}

/* A cutover that was asked for at once does not wait for a verification. */
static bool
is_cutover_urgent(struct migration *m)
{
    enum store_finalize request;

    return migration_finalize_requested(m, &request, NULL) == 0 && request == STORE_FINALIZE_NOW;
}

static uint64_t
mismatches(const struct migration *m)
{
    uint64_t count = 0;

    for (size_t i = 0; i < m->disks.count; i++)
        count += m->disks.items[i].mismatched_blocks;
    return count;
}

static void
tell(struct migration *m, const struct store_disk *before, const struct store_disk *disk)
{
    CLEANUP(free_charp) char *text = NULL;
    uint64_t mismatched = disk->mismatched_blocks - before->mismatched_blocks;
    uint64_t bytes = disk->verified_bytes - before->verified_bytes;

    text = mismatched ? xasprintf("[%s] verification: %" PRIu64
                                  " blocks of 1 MiB on the pool were not what "
                                  "was copied, and were written again from the source",
                                  disk->name, mismatched)
                      : xasprintf("[%s] verified %" PRIu64 " MiB: all as it should be", disk->name,
                                  (uint64_t)(bytes / MIB));
    migration_log(m, mismatched ? LOG_WARNING : LOG_INFO, "%s", text);
    (void)store_event_add(m->store, m->record.id, mismatched ? "warning" : "verify", text, NULL);
}

static int
verify_once(struct migration *m, uint64_t *ret_mismatched, struct err **err)
{
    struct migration_copy copy = {.pass = PASS_VERIFY,
                                  .snapshot = m->record.active_snapshot,
                                  .on_complete = verify_complete,
                                  .gives_way = is_cutover_urgent};
    struct store_disk *before = xcalloc(m->disks.count, sizeof(*before));
    uint64_t count = mismatches(m);
    int result;

    for (size_t i = 0; i < m->disks.count; i++)
        before[i] = m->disks.items[i]; /* for its numbers */
    result = migration_copy_disks(m, &copy, err);
    if (result < 0)
        err_wrap(err, "verification");
    for (size_t i = 0; result == 0 && i < m->disks.count; i++)
        tell(m, &before[i], &m->disks.items[i]);
    free(before);
    *ret_mismatched = mismatches(m) - count;
    return result < 0 ? -1 : migration_save(m, err);
}

int
migration_verify(struct migration *m, struct err **err)
{
    uint64_t mismatched = 0;

    migration_log(m, LOG_INFO, "Verifying what was copied (verify: %s)",
                  m->spec->verify == CONFIG_VERIFY_FULL ? "full" : "sample");
    for (int pass = 0; pass < PASSES; pass++) {
        if (verify_once(m, &mismatched, err) < 0)
            return -1;
        if (is_cutover_urgent(m)) {
            migration_log(m, LOG_WARNING,
                          "The verification is cut short: the cutover is wanted now");
            return 0;
        }
        if (!mismatched)
            return 0;
    }
    err_set(err, E_VERIFY, "%" PRIu64 " blocks differ again after they were written anew",
            mismatched);
    return err_hint(err,
                    "the pool does not keep what is written to it: look at its storage and its "
                    "server's log before anything else");
}
