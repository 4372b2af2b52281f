#include <inttypes.h>

#include "base/err.h"
#include "base/util.h"
#include "store/sqlite.h"

/* "V2C1": tells our file from any other SQLite database. */
#define APPLICATION_ID 0x56324331

/* ---- the step that made transitions --------------------------------------------------------------- */

#define TRANSITION_COLUMNS(id)                                                                     \
    id " event_id TEXT NOT NULL,"                                                                  \
       " at_ms INTEGER NOT NULL,"                                                                  \
       " event INTEGER NOT NULL,"                                                                  \
       " job_id TEXT NOT NULL,"                                                                    \
       " kind INTEGER NOT NULL,"                                                                   \
       " vm_name TEXT NOT NULL,"                                                                   \
       " vm_moref TEXT,"                                                                           \
       " vcenter TEXT NOT NULL,"                                                                   \
       " cloudstack TEXT NOT NULL,"                                                                \
       " wave TEXT,"                                                                               \
       " state INTEGER NOT NULL,"                                                                  \
       " stage TEXT,"                                                                              \
       " error TEXT,"                                                                              \
       " error_code TEXT,"                                                                         \
       " error_hint TEXT,"                                                                         \
       " required_action TEXT"

/* @event: a state's number, 7 for a stage, 8 for "needs a person"; of the job @from. */
#define TRANSITION_ADD(event, stage, error, code, hint, action, from)                              \
    " INSERT INTO transition (event_id, at_ms, event, job_id, kind, vm_name, vm_moref, vcenter,"   \
    " cloudstack, wave, state, stage, error, error_code, error_hint, required_action)"             \
    " SELECT lower(hex(randomblob(16))),"                                                          \
    " CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER), " event ", j.job_id,"     \
    " j.kind, j.vm_name, j.vm_moref, j.vcenter, j.cloudstack, j.wave, j.state, " stage ", " error  \
    ", " code ", " hint ", " action " FROM job AS j WHERE " from                                   \
    " AND EXISTS (SELECT 1 FROM webhook);"
#define TRANSITION_OF_JOB(event, action, where)                                                    \
    TRANSITION_ADD(event, "j.stage", "CASE WHEN j.state IN (4, 5) THEN j.error END",               \
                   "CASE WHEN j.state IN (4, 5) THEN j.error_code END",                            \
                   "CASE WHEN j.state IN (4, 5) THEN j.error_hint END", action,                    \
                   "j.id = NEW.id" where)
#define UNFINISHED_OF(migration) "j.migration = " migration " AND j.kind = 0 AND j.state < 3"

/* It would hang each statement on the one before. */
/* clang-format off */
#define TRANSITION_TRIGGERS \
    "CREATE TRIGGER job_is_new AFTER INSERT ON job BEGIN" \
    TRANSITION_OF_JOB("j.state", "NULL", "") \
    " END;" \
    "CREATE TRIGGER job_has_changed AFTER UPDATE OF state, stage ON job BEGIN" \
    TRANSITION_OF_JOB("7", "NULL", " AND NEW.stage IS NOT NULL AND NEW.stage IS NOT OLD.stage") \
    TRANSITION_OF_JOB("j.state", "NULL", " AND NEW.state <> OLD.state") \
    TRANSITION_OF_JOB("8", "'see_error'", \
                      " AND NEW.state = 4 AND OLD.state <> 4 AND NEW.kind <> 1") \
    " END;" \
    "CREATE TRIGGER shutdown_is_awaited AFTER UPDATE OF is_shutdown_action_required, stage" \
    " ON migration WHEN NEW.is_shutdown_action_required" \
    " AND NEW.stage = 'awaiting_shutdown_action'" \
    " AND (NOT OLD.is_shutdown_action_required OR OLD.stage <> NEW.stage) BEGIN" \
    TRANSITION_ADD("8", "NEW.stage", "NEW.shutdown_reason", "NULL", "NULL", "'shutdown_choice'", \
                   UNFINISHED_OF("NEW.id")) \
    " END;" \
    "CREATE TRIGGER space_is_awaited AFTER INSERT ON setting WHEN NEW.key = 'no_space' BEGIN" \
    TRANSITION_ADD("8", "j.stage", "NEW.value", "'E_NO_SPACE'", "NULL", "'free_space'", \
                   UNFINISHED_OF("NEW.migration")) \
    " END;"
/* clang-format on */

/* What brings a database from version N to N + 1.  A step that was once released never changes: what
 * comes later is a new step.  Portable SQL; nothing that SQLite 3.34 does not know. */
static const char *const steps[] = {
    "CREATE TABLE migration ("
    " id INTEGER PRIMARY KEY,"
    " migration_id TEXT NOT NULL,"
    " vm_name TEXT NOT NULL,"
    " vm_moref TEXT NOT NULL,"
    " instance_uuid TEXT,"
    " vcenter TEXT NOT NULL,"
    " directory TEXT NOT NULL UNIQUE,"
    " stage TEXT NOT NULL,"
    " active_snapshot TEXT,"
    " snapshot_intent TEXT,"
    " is_cbt_enabled_by_us INTEGER NOT NULL,"
    " change_version TEXT,"
    " powered_off_at INTEGER NOT NULL,"
    " imported_at INTEGER NOT NULL,"
    " started_at INTEGER NOT NULL,"
    " delta_rounds INTEGER NOT NULL,"
    " is_shutdown_action_required INTEGER NOT NULL,"
    " shutdown_reason TEXT,"
    " shutdown_tools_status TEXT,"
    " cloudstack_vm_id TEXT,"
    " is_cloudstack_configured INTEGER NOT NULL,"
    " is_cloudstack_started INTEGER NOT NULL,"
    " is_virt_v2v_done INTEGER NOT NULL,"
    " last_error TEXT,"
    " last_error_code TEXT,"
    " created_at INTEGER NOT NULL,"
    " updated_at INTEGER NOT NULL,"
    " UNIQUE (vcenter, vm_moref));"

    "CREATE TABLE disk ("
    " id INTEGER PRIMARY KEY,"
    " migration INTEGER NOT NULL REFERENCES migration (id) ON DELETE CASCADE,"
    " key TEXT NOT NULL,"
    " name TEXT NOT NULL,"
    " device_key INTEGER NOT NULL,"
    " unit INTEGER NOT NULL,"
    " address TEXT NOT NULL,"
    " backing_uuid TEXT,"
    " capacity INTEGER NOT NULL,"
    " is_boot INTEGER NOT NULL,"
    " storage_id TEXT,"
    " disk_offering_id TEXT,"
    " target_path TEXT,"
    " source_path TEXT,"
    " base_snapshot TEXT,"
    " pending_change_id TEXT,"
    " change_id TEXT,"
    " is_base_copied INTEGER NOT NULL,"
    " is_finished INTEGER NOT NULL,"
    " delta_rounds INTEGER NOT NULL,"
    " base_bytes INTEGER NOT NULL,"
    " base_ms INTEGER NOT NULL,"
    " volume_id TEXT,"
    " attached_to_vm_id TEXT,"
    " UNIQUE (migration, key));"

    "CREATE TABLE bitmap ("
    " disk INTEGER PRIMARY KEY REFERENCES disk (id) ON DELETE CASCADE,"
    " bits BLOB NOT NULL);"

    "CREATE TABLE progress ("
    " disk INTEGER PRIMARY KEY REFERENCES disk (id) ON DELETE CASCADE,"
    " stage TEXT NOT NULL,"
    " planned_bytes INTEGER NOT NULL,"
    " read_bytes INTEGER NOT NULL,"
    " written_bytes INTEGER NOT NULL,"
    " zero_bytes INTEGER NOT NULL,"
    " rate_bytes_per_s INTEGER NOT NULL,"
    " eta_s INTEGER NOT NULL,"
    " percent REAL NOT NULL,"
    " at INTEGER NOT NULL);"

    "CREATE TABLE finalize ("
    " migration INTEGER PRIMARY KEY REFERENCES migration (id) ON DELETE CASCADE,"
    " what INTEGER NOT NULL,"
    " requested_at INTEGER NOT NULL);"

    "CREATE TABLE intent ("
    " migration INTEGER NOT NULL REFERENCES migration (id) ON DELETE CASCADE,"
    " step TEXT NOT NULL,"
    " job_id TEXT,"
    " result TEXT,"
    " begun_at INTEGER NOT NULL,"
    " ended_at INTEGER NOT NULL,"
    " PRIMARY KEY (migration, step));"

    "CREATE TABLE event ("
    " id INTEGER PRIMARY KEY,"
    " migration INTEGER NOT NULL REFERENCES migration (id) ON DELETE CASCADE,"
    " at INTEGER NOT NULL,"
    " kind TEXT NOT NULL,"
    " text TEXT NOT NULL);"
    "CREATE INDEX event_by_migration ON event (migration, id);",

    /* Specs may name a VM by either of its uuids, or by name and datacenter. */
    "ALTER TABLE migration ADD COLUMN bios_uuid TEXT;"
    "ALTER TABLE migration ADD COLUMN datacenter TEXT;",

    /* Passes other than the base copy are gone on with too, and what was verified is kept apart. */
    "ALTER TABLE bitmap RENAME TO old_bitmap;"
    "CREATE TABLE bitmap ("
    " disk INTEGER NOT NULL REFERENCES disk (id) ON DELETE CASCADE,"
    " kind INTEGER NOT NULL,"
    " as_of TEXT,"
    " bits BLOB NOT NULL,"
    " PRIMARY KEY (disk, kind));"
    "INSERT INTO bitmap (disk, kind, as_of, bits)"
    " SELECT old_bitmap.disk, 0, disk.change_id, old_bitmap.bits"
    " FROM old_bitmap JOIN disk ON disk.id = old_bitmap.disk;"
    "DROP TABLE old_bitmap;"
    "ALTER TABLE disk ADD COLUMN verified_at INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE disk ADD COLUMN verified_bytes INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE disk ADD COLUMN mismatched_blocks INTEGER NOT NULL DEFAULT 0;",

    /* What people change while migrations run: of one VM (`migration`), of an ESXi host (`subject`), or
     * of all. */
    "CREATE TABLE setting ("
    " migration INTEGER REFERENCES migration (id) ON DELETE CASCADE,"
    " scope TEXT NOT NULL,"
    " subject TEXT NOT NULL,"
    " key TEXT NOT NULL,"
    " value TEXT NOT NULL,"
    " changed_at INTEGER NOT NULL);"
    "CREATE UNIQUE INDEX setting_once ON setting (scope, subject, key, coalesce(migration, 0));",

    /* What predictions of the downtime are made from. */
    "CREATE TABLE round ("
    " migration INTEGER NOT NULL REFERENCES migration (id) ON DELETE CASCADE,"
    " number INTEGER NOT NULL,"
    " began_at_ms INTEGER NOT NULL,"
    " covered_ms INTEGER NOT NULL,"
    " changed_bytes INTEGER NOT NULL,"
    " copy_ms INTEGER NOT NULL,"
    " total_ms INTEGER NOT NULL,"
    " PRIMARY KEY (migration, number));"
    "CREATE TABLE timing ("
    " migration INTEGER NOT NULL REFERENCES migration (id) ON DELETE CASCADE,"
    " stage TEXT NOT NULL,"
    " ms INTEGER NOT NULL,"
    " at INTEGER NOT NULL,"
    " PRIMARY KEY (migration, stage));",

    /* The service: its jobs and waves, people, environments, and what was done. */
    "CREATE TABLE job ("
    " id INTEGER PRIMARY KEY,"
    " job_id TEXT NOT NULL UNIQUE,"
    " kind INTEGER NOT NULL,"
    " state INTEGER NOT NULL,"
    " vm_name TEXT NOT NULL,"
    " vm_moref TEXT,"
    " vcenter TEXT NOT NULL,"
    " cloudstack TEXT NOT NULL,"
    " migration INTEGER NOT NULL,"
    " wave TEXT,"
    " priority INTEGER NOT NULL,"
    " created_at INTEGER NOT NULL,"
    " not_before INTEGER NOT NULL,"
    " started_at INTEGER NOT NULL,"
    " finished_at INTEGER NOT NULL,"
    " created_by TEXT,"
    " retry_of TEXT,"
    " spec_file TEXT,"
    " options TEXT,"
    " pool TEXT,"
    " host TEXT,"
    " wanted INTEGER NOT NULL,"
    " stage TEXT,"
    " progress INTEGER NOT NULL,"
    " return_code INTEGER NOT NULL,"
    " error TEXT,"
    " error_code TEXT,"
    " error_hint TEXT);"
    "CREATE INDEX job_by_state ON job (state, id);"
    "CREATE INDEX job_by_vm ON job (vm_name, id);"
    "CREATE INDEX job_by_wave ON job (wave, kind, state);"
    "CREATE INDEX timing_by_stage ON timing (stage, at, ms);"
    "CREATE TRIGGER migration_is_gone AFTER DELETE ON migration BEGIN"
    " UPDATE job SET migration = 0 WHERE migration = OLD.id; END;"
    "CREATE TABLE wave ("
    " name TEXT PRIMARY KEY,"
    " not_before INTEGER NOT NULL,"
    " not_after INTEGER NOT NULL,"
    " concurrency INTEGER NOT NULL,"
    " position INTEGER NOT NULL);"
    "CREATE TABLE account ("
    " id INTEGER PRIMARY KEY,"
    " name TEXT NOT NULL UNIQUE,"
    " role INTEGER NOT NULL,"
    " password TEXT NOT NULL,"
    " created_at INTEGER NOT NULL);"
    "CREATE TABLE access ("
    " id INTEGER PRIMARY KEY,"
    " hash TEXT NOT NULL UNIQUE,"
    " account TEXT NOT NULL,"
    " name TEXT,"
    " csrf TEXT,"
    " role INTEGER NOT NULL,"
    " created_at INTEGER NOT NULL,"
    " used_at INTEGER NOT NULL,"
    " expires_at INTEGER NOT NULL);"
    "CREATE TABLE environment ("
    " id INTEGER PRIMARY KEY,"
    " env_id TEXT NOT NULL UNIQUE,"
    " is_vcenter INTEGER NOT NULL,"
    " name TEXT NOT NULL,"
    " address TEXT NOT NULL,"
    " user TEXT,"
    " thumbprint TEXT,"
    " is_insecure INTEGER NOT NULL,"
    " secret TEXT NOT NULL);"
    "CREATE TABLE audit ("
    " id INTEGER PRIMARY KEY,"
    " at INTEGER NOT NULL,"
    " user TEXT,"
    " address TEXT,"
    " action TEXT NOT NULL,"
    " subject TEXT,"
    " outcome TEXT NOT NULL);",

    /* What webhooks are told: written by triggers, so that a change and the word of it are one commit,
     * whoever makes it; nothing is written while there is no webhook. */
    "CREATE TABLE webhook ("
    " name TEXT PRIMARY KEY,"
    " position INTEGER NOT NULL,"
    " delivered INTEGER NOT NULL,"
    " failed INTEGER NOT NULL,"
    " given_up INTEGER NOT NULL,"
    " delivered_at INTEGER NOT NULL,"
    " failed_at INTEGER NOT NULL,"
    " error TEXT);"
    "CREATE TABLE transition (" TRANSITION_COLUMNS(
        " id INTEGER PRIMARY KEY AUTOINCREMENT,") ");" TRANSITION_TRIGGERS,

    /* Two environments may be one vCenter. */
    "ALTER TABLE job ADD COLUMN vcenter_uuid TEXT;",
};

static int
read_number(struct store *store, const char *sql, int64_t *ret, struct err **err)
{
    CLEANUP(store_finalizep) sqlite3_stmt *stmt = store_prepare(store, sql, err);
    int rc;

    if (!stmt)
        return -1;
    rc = store_step(store, stmt, err);
    if (rc < 0)
        return -1;
    *ret = rc ? sqlite3_column_int64(stmt, 0) : 0;
    return 0;
}

static int
check_origin(struct store *store, int64_t *ret_version, struct err **err)
{
    int64_t application, version, tables;

    if (read_number(store, "PRAGMA application_id", &application, err) < 0 ||
        read_number(store, "PRAGMA user_version", &version, err) < 0 ||
        read_number(store, "SELECT count(*) FROM sqlite_master", &tables, err) < 0)
        return -1;
    if (application != APPLICATION_ID && (application != 0 || tables != 0)) {
        err_set(err, E_STORE_FOREIGN, "%s is a database of another program", store->path);
        return err_hint(err, "move it away, or choose another control_dir");
    }
    if (version > (int64_t)ARRAY_SIZE(steps)) {
        err_set(err, E_STORE_FOREIGN,
                "%s was written by a newer version of v2c-engine (schema %" PRId64
                ", this one knows %zu)",
                store->path, version, ARRAY_SIZE(steps));
        return err_hint(err, "use that version or a newer one");
    }
    *ret_version = version;
    return 0;
}

static int
upgrade_in_transaction(struct store *store, struct err **err)
{
    CLEANUP(free_charp) char *mark = NULL;
    int64_t version = 0;

    /* Another process may have done it while we waited for the lock. */
    if (check_origin(store, &version, err) < 0)
        return -1;
    for (size_t i = (size_t)version; i < ARRAY_SIZE(steps); i++)
        if (store_exec(store, steps[i], err) < 0)
            return -1;
    mark = xasprintf("PRAGMA application_id = %d; PRAGMA user_version = %zu", APPLICATION_ID,
                     ARRAY_SIZE(steps));
    return store_exec(store, mark, err);
}

/* All of it from one moment: another process may be making the schema, and what it commits between two
 * reads would look like the database of another program. */
static int
check_origin_at_once(struct store *store, int64_t *ret_version, struct err **err)
{
    int result;

    if (store_exec(store, "BEGIN", err) < 0)
        return -1;
    result = check_origin(store, ret_version, err);
    store_rollback(store);
    return result;
}

int
store_check_origin(struct store *store, struct err **err)
{
    int64_t version;

    return check_origin_at_once(store, &version, err);
}

int
store_upgrade(struct store *store, struct err **err)
{
    int64_t version = 0;

    if (check_origin_at_once(store, &version, err) < 0)
        return -1;
    if (version == (int64_t)ARRAY_SIZE(steps))
        return 0;
    if (store_begin(store, err) < 0)
        return -1;
    if (upgrade_in_transaction(store, err) < 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, err);
}
