/* Downtime that can be known: rounds are recorded, what a cutover would take is predicted from them, and one
 * that would take longer than cutover_max_downtime waits. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "migration/downtime_model.h"
#include "migration/internal.h"

#define LAST_ROUNDS       8
#define USUAL_SHUTDOWN_MS 30000 /* until some were seen */
#define USUAL_IMPORT_MS   15000

static struct store_subject
subject(int64_t migration)
{
    return (struct store_subject){.scope = STORE_VM, .migration = migration};
}

/* ---- what is recorded ------------------------------------------------------------------------- */

void
migration_note_snapshot(struct migration *m, int64_t began_at_ms)
{
    const struct store_round base = {.began_at_ms = began_at_ms};
    CLEANUP(err_freep) struct err *failure = NULL;

    if (store_round_put(m->store, m->record.id, &base, &failure) < 0)
        log_err(LOG_WARNING, failure, "recording the base snapshot's time");
}

static json_t *
cutover_json(const struct migration *m)
{
    uint64_t bytes = 0, ms = 0, capacity = 0;

    for (size_t i = 0; i < m->disks.count; i++) {
        bytes += m->disks.items[i].base_bytes;
        ms = MAX(ms, m->disks.items[i].base_ms);
        capacity += m->disks.items[i].capacity;
    }
    return json_pack("{s:I, s:b, s:I, s:I, s:I, s:b}", "settle_ms",
                     (json_int_t)migration_settle_seconds(m) * 1000, "converts",
                     m->spec->run_virt_v2v, "max_ms",
                     (json_int_t)m->spec->cutover_max_downtime * 1000, "base_bytes_per_s",
                     (json_int_t)(ms ? bytes * 1000 / ms : 0), "capacity", (json_int_t)capacity,
                     "hopeless", m->hold.is_hopeless);
}

static int
save_cutover(struct migration *m, struct err **err)
{
    const struct store_subject vm = subject(m->record.id);
    json_t *object = cutover_json(m);
    CLEANUP(free_charp) char *text = json_dumps(object, JSON_COMPACT);

    json_decref(object);
    return store_setting_put(m->store, &vm, STORE_CUTOVER, text, err);
}

/* Each stage of the cutover is timed, when nobody was waited for and no run ended in it. */
void
migration_time_stage(struct migration *m, enum store_stage before)
{
    int64_t now = clock_monotonic_ms(), ms = now - m->stage_began_ms;
    bool was_begun = m->stage_began_ms != 0;

    m->stage_began_ms = now;
    if (before == STAGE_AWAITING_SHUTDOWN && m->has_waited_for_person)
        was_begun = false;
    if (was_begun && before >= STAGE_AWAITING_SHUTDOWN)
        (void)store_timing_put(m->store, m->record.id, store_stage_name(before), ms, NULL);
}

/* ---- what is predicted ------------------------------------------------------------------------ */

/* What @stage takes as a rule, @fallback where no migration has shown it. */
static int
usual_ms(struct store *store, int64_t migration, enum store_stage stage, int64_t fallback,
         int64_t *ret_ms, struct err **err)
{
    int64_t ms;

    if (store_timing_usual(store, migration, store_stage_name(stage), &ms, err) < 0)
        return -1;
    *ret_ms = ms >= 0 ? ms : fallback;
    return 0;
}

/* The time that a rehearsal of this VM took, else what others took, else -1. */
static int
conversion_ms(struct store *store, int64_t migration, int64_t *ret_ms, struct err **err)
{
    const struct store_subject vm = subject(migration);
    CLEANUP(free_charp) char *rehearsed = NULL;

    if (store_setting_get(store, &vm, STORE_REHEARSED, &rehearsed, err) < 0)
        return -1;
    if (rehearsed && strtoll(rehearsed, NULL, 10) > 0) {
        *ret_ms = strtoll(rehearsed, NULL, 10);
        return 0;
    }
    return usual_ms(store, migration, STAGE_CONVERTING, -1, ret_ms, err);
}

static int64_t
number(const json_t *object, const char *key)
{
    return MAX(json_integer_value(json_object_get(object, key)), 0);
}

static int
gather(struct store *store, int64_t migration, const json_t *cutover, struct downtime_facts *facts,
       struct err **err)
{
    int64_t root_ms, data_ms;

    facts->now_ms = clock_wall_ms();
    facts->settle_ms = number(cutover, "settle_ms");
    facts->max_ms = number(cutover, "max_ms");
    facts->base_bytes_per_s = (uint64_t)number(cutover, "base_bytes_per_s");
    facts->capacity = (uint64_t)number(cutover, "capacity");
    if (usual_ms(store, migration, STAGE_AWAITING_SHUTDOWN, USUAL_SHUTDOWN_MS, &facts->shutdown_ms,
                 err) < 0 ||
        usual_ms(store, migration, STAGE_IMPORT_ROOT_DISK, USUAL_IMPORT_MS, &root_ms, err) < 0 ||
        usual_ms(store, migration, STAGE_IMPORT_DATA_DISK, 0, &data_ms, err) < 0)
        return -1;
    facts->import_ms = root_ms + data_ms;
    return json_is_true(json_object_get(cutover, "converts"))
               ? conversion_ms(store, migration, &facts->convert_ms, err)
               : 0;
}

int
migration_predict_downtime(struct store *store, int64_t migration, struct migration_downtime *ret,
                           struct err **err)
{
    const struct store_subject vm = subject(migration);
    CLEANUP(free_charp) char *text = NULL;
    struct downtime_facts facts = {0};
    struct store_rounds rounds = {0};
    json_t *cutover;
    int result = -1;

    if (store_setting_get(store, &vm, STORE_CUTOVER, &text, err) < 0)
        return -1;
    cutover = json_loads(text ? text : "{}", 0, NULL);
    if (gather(store, migration, cutover, &facts, err) == 0 &&
        store_rounds_load(store, migration, LAST_ROUNDS, &rounds, err) == 0) {
        facts.rounds = rounds.items;
        facts.round_count = text ? rounds.count : 0;
        downtime_predict(&facts, ret);
        ret->is_hopeless = ret->max_ms && json_is_true(json_object_get(cutover, "hopeless"));
        result = 0;
    }
    vec_done(&rounds);
    json_decref(cutover);
    return result;
}

/* ---- what comes of it ------------------------------------------------------------------------- */

static bool
is_kept(const struct migration_downtime *d)
{
    return !d->max_ms || (d->is_known && d->convert_ms >= 0 && d->total_now_ms <= d->max_ms);
}

static int64_t
seconds(int64_t ms)
{
    return (ms + 999) / 1000;
}

static void
tell_prediction(struct migration *m, const struct migration_downtime *d)
{
    migration_log(m, LOG_INFO,
                  "Downtime if finalized now: about %" PRId64 " s (shutdown %" PRId64
                  ", settle %" PRId64 ", last sync %" PRId64 ", import %" PRId64
                  ", conversion %s%" PRId64 ")",
                  seconds(d->total_ms), seconds(d->shutdown_ms), seconds(d->settle_ms),
                  seconds(d->sync_ms), seconds(d->import_ms),
                  d->convert_ms < 0 ? "not known, at least " : "", seconds(MAX(d->convert_ms, 0)));
}

static void
tell_hopeless(struct migration *m, const struct migration_downtime *d)
{
    if (d->convert_ms < 0)
        migration_log(
            m, LOG_WARNING,
            "cutover_max_downtime is %" PRId64
            " s, and how long the conversion takes is not known: run v2c-engine rehearse, "
            "or v2c-engine finalize --now to cut over all the same",
            d->max_ms / 1000);
    else
        migration_log(m, LOG_WARNING,
                      "cutover_max_downtime of %" PRId64 " s will not be kept: about %" PRId64
                      " s now, %" PRId64
                      " s at least, and rounds do not make it less. Raise it, wait for a quieter "
                      "time, or run v2c-engine finalize --now to cut over all the same",
                      d->max_ms / 1000, seconds(d->total_now_ms), seconds(d->least_ms));
}

int
migration_note_round(struct migration *m, const struct store_round *round, bool is_cutover_near,
                     struct err **err)
{
    bool was_hopeless = m->hold.is_hopeless;
    struct migration_downtime d;

    if (store_round_put(m->store, m->record.id, round, err) < 0 || save_cutover(m, err) < 0 ||
        migration_predict_downtime(m->store, m->record.id, &d, err) < 0)
        return -1;
    tell_prediction(m, &d);
    m->hold.total_ms = d.total_ms;
    m->hold.is_kept = is_kept(&d);
    if (!is_cutover_near || m->hold.is_kept) {
        m->hold.trend = (struct downtime_trend){0};
        m->hold.is_hopeless = m->hold.is_told = false;
    } else {
        m->hold.is_hopeless = downtime_is_hopeless(&m->hold.trend, &d);
    }
    if (m->hold.is_hopeless && !was_hopeless)
        tell_hopeless(m, &d);
    migration_mirror(m);
    return m->hold.is_hopeless == was_hopeless ? 0 : save_cutover(m, err);
}

int
migration_may_cut_over(struct migration *m, bool *ret_may, struct err **err)
{
    struct migration_downtime d;

    *ret_may = true;
    if (!m->spec->cutover_max_downtime)
        return 0;
    if (save_cutover(m, err) < 0 || migration_predict_downtime(m->store, m->record.id, &d, err) < 0)
        return -1;
    *ret_may = m->hold.is_kept = is_kept(&d);
    if (!*ret_may && !m->hold.is_told)
        migration_log(m, LOG_WARNING,
                      "The cutover waits: the downtime would be about %" PRId64
                      " s, cutover_max_downtime is %" PRId64 " s",
                      seconds(d.total_now_ms), d.max_ms / 1000);
    m->hold.is_told = !*ret_may;
    return 0;
}
