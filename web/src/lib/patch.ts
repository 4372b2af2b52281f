// What the stream tells, laid over what was read.
import type { Job, JobPage } from "../api/types";

/** One page of jobs with what has changed; null when a row may be missing and the page must be read again. */
export function patchPage(page: JobPage, changed: Map<string, Job>): { page: JobPage; unknown: boolean } {
  let hits = 0;
  const items = page.items.map((j) => {
    const next = changed.get(j.id);
    if (next) hits++;
    return next ?? j;
  });
  return { page: hits > 0 ? { ...page, items } : page, unknown: hits < changed.size };
}
