#include "source/source.h"

void
disk_source_closep(struct disk_source **source)
{
    if (*source)
        (*source)->ops->close(*source);
    *source = NULL;
}
