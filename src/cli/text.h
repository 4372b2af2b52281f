/* Numbers and foreign text as people read them. */
#ifndef V2C_CLI_TEXT_H
#define V2C_CLI_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct str;

void text_append_bytes(struct str *out, uint64_t bytes);           /* "27.0 GiB" */
void text_append_rate(struct str *out, uint64_t bytes_per_second); /* "310 MiB/s" */
void text_append_duration(struct str *out, int64_t seconds); /* "0:42", "1:02:03", "3d 04:00" */
/* @text without control characters, cut after @max characters (0: not cut). */
void text_append_clean(struct str *out, const char *text, size_t max);

#endif
