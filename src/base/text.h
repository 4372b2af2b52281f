/* Text that others wrote, as JSON: names, paths, what programs and servers said. */
#ifndef V2C_BASE_TEXT_H
#define V2C_BASE_TEXT_H

#include <jansson.h>

/* @text with whatever is not UTF-8 replaced by U+FFFD, one for each byte; the caller frees. */
char *text_as_utf8(const char *text);
/* A JSON string of it; null for NULL.  json_string and json_pack make nothing at all of text that is not
 * UTF-8, so foreign text goes through here. */
json_t *json_text(const char *text);

#endif
