/* SQLite behind store.h: transactions, statements, and rows to structs.  Internal to this room.
 *
 * Every statement is prepared, bound and finalised on the spot: a few microseconds beside an fsync.  For those
 * who only read, and much, they are kept (store_keep_statements). */
#ifndef V2C_STORE_SQLITE_H
#define V2C_STORE_SQLITE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

/* A statement that is kept for the next use of the same text. */
struct kept_statement {
    char *sql;
    sqlite3_stmt *stmt;
    bool is_lent;
};

struct store {
    sqlite3 *db;
    char *path;
    bool keeps_statements;
    VEC_DECLARE(, struct kept_statement)
    kept;
};

/* ---- sqlite.c: statements and transactions ---------------------------------------------------- */

/* Sets *err from what SQLite has just said; -1. */
int store_fail(struct store *store, int code, const char *what, struct err **err);
int store_exec(struct store *store, const char *sql, struct err **err);
sqlite3_stmt *store_prepare(struct store *store, const char *sql, struct err **err);
void store_finalizep(sqlite3_stmt **stmt);
/* 1 with a row, 0 at the end, -1. */
int store_step(struct store *store, sqlite3_stmt *stmt, struct err **err);
/* Runs a statement without rows to its end. */
int store_run(struct store *store, sqlite3_stmt *stmt, struct err **err);

/* BEGIN IMMEDIATE: waits for other writers, so that COMMIT cannot fail for want of the lock. */
int store_begin(struct store *store, struct err **err);
int store_commit(struct store *store, struct err **err);
void store_rollback(struct store *store);

void store_bind_text(sqlite3_stmt *stmt, int index, const char *text); /* copies; NULL is NULL */
char *store_column_text(sqlite3_stmt *stmt, int index);                /* owned; NULL is NULL */

/* ---- rows.c: a struct and its columns --------------------------------------------------------- */

enum column_kind { COLUMN_TEXT, COLUMN_INT64, COLUMN_INT32, COLUMN_BOOL, COLUMN_STAGE };
struct column {
    const char *name;
    enum column_kind kind;
    size_t offset;
};
struct table {
    const char *name;
    const struct column *columns; /* all but id */
    size_t column_count;
    size_t id_offset; /* of the int64_t row id */
};
extern const struct table migration_table, disk_table;

int table_insert(struct store *store, const struct table *table, void *row, struct err **err);
/* E_STORE_NOT_FOUND when there is no row of that id. */
int table_update(struct store *store, const struct table *table, const void *row, struct err **err);
/* "SELECT id, ... FROM table @where"; the columns are those of table_read. */
sqlite3_stmt *table_select(struct store *store, const struct table *table, const char *where,
                           struct err **err);
int table_read(struct store *store, const struct table *table, sqlite3_stmt *stmt, void *ret_row,
               struct err **err);
void table_free_texts(const struct table *table, void *row);

/* ---- schema.c --------------------------------------------------------------------------------- */

/* E_STORE_FOREIGN for a file of another program or of a newer version; changes nothing. */
int store_check_origin(struct store *store, struct err **err);
int store_upgrade(struct store *store, struct err **err);

#endif
