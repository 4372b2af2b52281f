#include "base/util.h"
#include "transfer/inner.h"

static void
update(struct transfer *t)
{
    struct transfer_progress *p = &t->progress;
    unsigned oldest = t->sample_count > RATE_SAMPLES ? t->sample_count - RATE_SAMPLES : 0;
    int64_t span_ms = t->now_ms - t->samples[oldest % RATE_SAMPLES].at_ms;
    uint64_t bytes = t->read_bytes - t->samples[oldest % RATE_SAMPLES].bytes;
    uint64_t left = p->planned_bytes - MIN(t->read_bytes, p->planned_bytes);

    p->elapsed_ms = t->now_ms - t->began_ms;
    p->rate_bytes_per_s = span_ms > 0 ? bytes * 1000 / (uint64_t)span_ms : 0;
    p->eta_s = left == 0 ? 0 : p->rate_bytes_per_s ? (int64_t)(left / p->rate_bytes_per_s) : -1;
}

void
report_progress(struct transfer *t)
{
    update(t);
    t->samples[t->sample_count % RATE_SAMPLES].at_ms = t->now_ms;
    t->samples[t->sample_count % RATE_SAMPLES].bytes = t->read_bytes;
    t->sample_count++;
    t->reported_ms = t->now_ms;
    if (t->job->on_progress)
        t->job->on_progress(t->job->opaque, &t->progress);
}
