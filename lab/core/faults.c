#include "core/faults.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "base/vec.h"

#define MAX_FAULTS   256
#define MAX_PLACES   512
#define MAX_DELAY_MS 600000

struct rule {
    char where[128];
    struct lab_fault fault;
    int64_t skip, count; /* count -1: for ever */
};

struct place {
    char name[128];
    uint64_t passes;
};

struct lab_faults {
    pthread_mutex_t mutex; /* guards what follows */
    VEC_DECLARE(, struct rule)
    rules;
    VEC_DECLARE(, struct place)
    places;
};

static const char *const ACTIONS[] = {"delay", "fail", "drop", "drop_after", "expire", "lie"};

struct lab_faults *
lab_faults_new(void)
{
    struct lab_faults *faults = xcalloc(1, sizeof(*faults));

    pthread_mutex_init(&faults->mutex, NULL);
    return faults;
}

void
lab_faults_free(struct lab_faults *faults)
{
    if (!faults)
        return;
    vec_done(&faults->rules);
    vec_done(&faults->places);
    pthread_mutex_destroy(&faults->mutex);
    free(faults);
}

static int
copy_word(const json_t *fault, const char *key, bool is_needed, char *to, size_t room,
          struct err **err)
{
    const json_t *value = json_object_get(fault, key);

    if (!value && !is_needed)
        return 0;
    if (!json_is_string(value) || (is_needed && !json_string_length(value)) ||
        json_string_length(value) >= room)
        return err_set(err, E_CONFIG, "fault: %s must be a text shorter than %zu bytes", key, room);
    memcpy(to, json_string_value(value), json_string_length(value) + 1);
    return 0;
}

static int
copy_number(const json_t *fault, const char *key, int64_t min, int64_t max, int64_t *to,
            struct err **err)
{
    const json_t *value = json_object_get(fault, key);

    if (!value)
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max)
        return err_set(err, E_CONFIG,
                       "fault: %s must be a whole number from %" PRId64 " to %" PRId64, key, min,
                       max);
    *to = json_integer_value(value);
    return 0;
}

static int
check_keys(const json_t *fault, struct err **err)
{
    static const char *const KNOWN[] = {"where", "action", "detail", "delay_ms", "skip", "count"};
    const char *key;
    json_t *value;

    if (!json_is_object(fault))
        return err_set(err, E_CONFIG, "fault: must be a JSON object");
    json_object_foreach ((json_t *)fault, key, value) {
        bool is_known = false;

        for (size_t i = 0; i < ARRAY_SIZE(KNOWN); i++)
            is_known = is_known || !strcmp(key, KNOWN[i]);
        if (!is_known)
            return err_set(err, E_CONFIG, "fault: unknown key %s", key);
    }
    return 0;
}

int
lab_faults_add(struct lab_faults *faults, const json_t *fault, struct err **err)
{
    struct rule rule = {.count = 1};
    int64_t delay_ms = 0;
    bool is_known = false;

    if (check_keys(fault, err) < 0 ||
        copy_word(fault, "where", true, rule.where, sizeof(rule.where), err) < 0 ||
        copy_word(fault, "action", true, rule.fault.action, sizeof(rule.fault.action), err) < 0 ||
        copy_word(fault, "detail", false, rule.fault.detail, sizeof(rule.fault.detail), err) < 0 ||
        copy_number(fault, "delay_ms", 0, MAX_DELAY_MS, &delay_ms, err) < 0 ||
        copy_number(fault, "skip", 0, INT32_MAX, &rule.skip, err) < 0 ||
        copy_number(fault, "count", -1, INT32_MAX, &rule.count, err) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(ACTIONS); i++)
        is_known = is_known || !strcmp(rule.fault.action, ACTIONS[i]);
    if (!is_known)
        return err_set(err, E_CONFIG,
                       "fault: action %s is none of delay, fail, drop, drop_after, expire, lie",
                       rule.fault.action);
    if (rule.count == 0)
        return err_set(err, E_CONFIG, "fault: count 0 would never hit");
    rule.fault.delay_ms = (int)delay_ms;
    SCOPE_LOCK(&faults->mutex);
    if (faults->rules.count >= MAX_FAULTS)
        return err_set(err, E_LIMIT, "more than %d faults wait already", MAX_FAULTS);
    vec_push(&faults->rules, rule);
    return 0;
}

void
lab_faults_clear(struct lab_faults *faults)
{
    SCOPE_LOCK(&faults->mutex);
    faults->rules.count = 0;
}

static bool
matches(const char *pattern, const char *where)
{
    size_t length = strlen(pattern);

    if (length && pattern[length - 1] == '*')
        return !strncmp(pattern, where, length - 1);
    return !strcmp(pattern, where);
}

/* mutex held */
static void
count_pass(struct lab_faults *faults, const char *where)
{
    struct place place = {.passes = 1};

    for (size_t i = 0; i < faults->places.count; i++) {
        if (!strcmp(faults->places.items[i].name, where)) {
            faults->places.items[i].passes++;
            return;
        }
    }
    if (faults->places.count >= MAX_PLACES)
        return;
    (void)snprintf(place.name, sizeof(place.name), "%s", where);
    vec_push(&faults->places, place);
}

/* mutex held.  Takes one hit from rule @i, which is removed with its last one. */
static void
use_up(struct lab_faults *faults, size_t i)
{
    struct rule *rule = &faults->rules.items[i];

    if (rule->count < 0 || --rule->count > 0)
        return;
    memmove(rule, rule + 1, (faults->rules.count - i - 1) * sizeof(*rule));
    faults->rules.count--;
}

bool
lab_fault_take(struct lab_faults *faults, const char *where, struct lab_fault *ret_fault)
{
    int64_t delay_ms = 0;
    bool is_hit = false;

    pthread_mutex_lock(&faults->mutex);
    count_pass(faults, where);
    for (size_t i = 0; i < faults->rules.count && !is_hit;) {
        struct rule *rule = &faults->rules.items[i];
        size_t before = faults->rules.count;

        if (!matches(rule->where, where)) {
            i++;
            continue;
        }
        if (rule->skip > 0) {
            rule->skip--;
            i++;
            continue;
        }
        delay_ms += rule->fault.delay_ms;
        if (strcmp(rule->fault.action, "delay") != 0) {
            is_hit = true;
            *ret_fault = rule->fault;
        }
        use_up(faults, i);
        if (faults->rules.count == before)
            i++;
    }
    pthread_mutex_unlock(&faults->mutex);
    if (delay_ms)
        clock_sleep_ms(delay_ms);
    return is_hit;
}

json_t *
lab_faults_passes(struct lab_faults *faults)
{
    json_t *passes = json_object();

    SCOPE_LOCK(&faults->mutex);
    for (size_t i = 0; i < faults->places.count; i++)
        json_object_set_new(passes, faults->places.items[i].name,
                            json_integer((json_int_t)faults->places.items[i].passes));
    return passes;
}
