/* Decoding shared by config.yaml and specs. */
#ifndef V2C_CONFIG_VALUES_H
#define V2C_CONFIG_VALUES_H

#include "base/doc.h"
#include "config/config.h"

/* Zero is "not set" wherever the existing tool writes zero values into the specs it saves. */
#define INTERVAL_MAX_S       (30 * 24 * 3600)
#define READERS_MAX          64
#define PARALLEL_DISKS_MAX   32
#define PARALLEL_VMS_MAX     64
#define HANDLES_PER_HOST_MAX 256
#define INFLIGHT_MIB_MAX     65536
#define CLOUDSTACK_TIMEOUT_S 3600

/* Text without surrounding blanks; a blank one is as good as absent, and leaves *value alone. */
void decode_text(const struct node *map, const char *key, char **value, struct problems *problems);
/* Seconds from 0 to INTERVAL_MAX_S; 0 and absent leave *value alone. */
void decode_interval(const struct node *map, const char *key, int64_t *value,
                     struct problems *problems);
/* A count; 0 and absent leave *value alone, more than @max becomes @max with a warning. */
void decode_count(const struct node *map, const char *key, int64_t max, int64_t *value,
                  struct problems *problems);
/* -1 while not set: booleans, and the words of `snapshot_quiesce`, `shutdown_mode`, `verify` and
 * `extents` as the enums of config.h.  Blank text is as good as absent. */
void decode_flag(const struct node *map, const char *key, int *value, struct problems *problems);
void decode_quiesce(const struct node *map, int *value, struct problems *problems);
void decode_shutdown(const struct node *map, int *value, struct problems *problems);
void decode_verify(const struct node *map, int *value, struct problems *problems);
/* `bandwidth_limit` and its like. */
void decode_rates(const struct node *map, const char *key, struct rate_schedule *value,
                  struct problems *problems);
/* A map from the names of ESXi hosts to rates. */
void host_rates_decode(const struct node *map, struct config_host_rates *rates,
                       struct problems *problems);
void host_rates_done(struct config_host_rates *rates);
const char *quiesce_word(enum config_quiesce quiesce);
const char *shutdown_word(enum config_shutdown shutdown);
const char *verify_word(enum config_verify verify);
bool verify_from_word(const char *word, enum config_verify *ret);
void decode_extents(const struct node *map, int *value, struct problems *problems);
const char *extents_word(enum config_extents extents);
void decode_on_failure(const struct node *map, int *value, struct problems *problems);
const char *on_failure_word(enum config_on_failure on_failure);
void decode_import(const struct node *map, int *value, struct problems *problems);
const char *import_word(enum config_import import);

/* `thumbprint` is one, and what `ca_file` names can be read, where they are set. */
void config_check_thumbprint(const struct node *map, const char *thumbprint,
                             struct problems *problems);
void config_check_file(const struct node *map, const char *key, const char *path,
                       struct problems *problems);

/* ---- the fields of struct config_target ------------------------------------------------------- */

struct target_field {
    const char *key; /* in cloudstack_defaults and target.cloudstack */
    size_t offset;   /* of its char * in struct config_target */
    bool is_required;
};
extern const struct target_field target_fields[];
extern const size_t target_field_count;
char **target_value(struct config_target *target, const struct target_field *field);
/* Keys for node_check_keys, with nic_mappings at the end when @has_nics. */
const char *const *target_keys(bool has_nics);

void target_decode(const struct node *map, struct config_target *target, struct problems *problems);
/* Fills what @target does not have. */
void target_fill(struct config_target *target, const struct config_target *from);
void target_done(struct config_target *target);

#endif
