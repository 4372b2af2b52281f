#include "source/vddk_window.h"

#include "base/util.h"
#include "disk/disk.h"

#define GOOD_TO_WIDEN 256U

void
vddk_window_init(struct vddk_window *window, unsigned most)
{
    *window = (struct vddk_window){.most = most, .reads = most, .piece = DISK_MAX_REQUEST};
}

void
vddk_window_good(struct vddk_window *window)
{
    if (window->reads == window->most && window->piece == DISK_MAX_REQUEST)
        return;
    if (++window->good < GOOD_TO_WIDEN)
        return;
    window->good = 0;
    if (window->piece < DISK_MAX_REQUEST)
        window->piece *= 2;
    else
        window->reads++;
}

bool
vddk_window_refused(struct vddk_window *window, unsigned epoch, unsigned in_flight)
{
    window->good = 0;
    window->refusals++;
    if (epoch != window->epoch)
        return true; /* narrowed since: several are refused together, which is one reason */
    window->epoch++;
    if (MIN(window->reads, in_flight) > 1) {
        window->reads = MIN(window->reads, in_flight) / 2;
        return true;
    }
    window->reads = 1;
    if (window->piece == VDDK_WINDOW_LEAST_PIECE)
        return false;
    window->piece /= 2;
    return true;
}
