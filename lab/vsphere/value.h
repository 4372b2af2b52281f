/* Values of the vSphere API: trees that are built by field name and written as XML in the order and
 * with the xsi:type attributes that the API's schema (schema.def) asks for.
 *
 * Ownership: a tree owns what was put into it; value_set and value_add take the value over.
 * Threading: a tree belongs to one thread. */
#ifndef V2C_LAB_VSPHERE_VALUE_H
#define V2C_LAB_VSPHERE_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct value;

struct value *value_string(const char *text);
struct value *value_stringf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
struct value *value_int(int64_t number);
struct value *value_long(int64_t number);
struct value *value_bool(bool fact);
struct value *value_time_ms(uint64_t wall_ms);
/* An enum, or a string type with a name of its own. */
struct value *value_word(const char *type, const char *word);
struct value *value_ref(const char *type, const char *moref);
struct value *value_object(const char *type);
struct value *value_list(const char *item_type);
struct value *value_copy(const struct value *value);
void value_free(struct value *value);
void value_freep(struct value **value);

/* Sets a field.  NULL leaves it unset.  A field that the schema does not have is a bug and aborts. */
void value_set(struct value *object, const char *field, struct value *value);
void value_add(struct value *list, struct value *item);

/* What stands at "a.b.c" below @value, borrowed; NULL when it is not set.  *ret_is_wrong: the schema
 * has no such field. */
const struct value *value_at(const struct value *value, const char *path, bool *ret_is_wrong);
/* Whether the schema of @type (a managed object's too) has the field @path begins with. */
bool value_schema_has(const char *type, const char *path);
/* All fields of a type, one after the other; NULL at the end. */
const char *value_schema_field(const char *type, unsigned index);

/* Calls @fn for the reference, or for each in the list of references, that @value is. */
void value_each_ref(const struct value *value,
                    void (*fn)(void *opaque, const char *type, const char *moref), void *opaque);

/* <element>...</element>, once for each item of a list.  @declared is the type that a reader expects
 * there; "anyType" for one that must be told. */
void value_write(struct str *out, const char *element, const char *declared,
                 const struct value *value);
/* The fields of an object only. */
void value_write_inside(struct str *out, const struct value *object);
void value_write_text(struct str *out, const char *text); /* escaped */

#endif
