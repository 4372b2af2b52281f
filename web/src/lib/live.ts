// What the stream of events says, laid into what the page has.
import type { Job, JobPage } from "../api/types";

/** One page of jobs with what has changed; the same page when nothing of it has. */
export function patchPage(page: JobPage, changed: Map<string, Partial<Job>>): JobPage {
  let hits = 0;
  const items = page.items.map((j) => {
    const next = changed.get(j.id);
    if (next) hits++;
    return next ? { ...j, ...next } : j;
  });
  return hits > 0 ? { ...page, items } : page;
}

/** Changes of state in words, for those who do not see the table; many at once become a number. */
export function announcement(moved: Pick<Job, "vm_name" | "state" | "required_action">[]): string {
  if (moved.length > 3) return `${moved.length} jobs have changed their state`;
  return moved.map((j) => `${j.vm_name}: ${j.required_action ? "needs your decision" : j.state}`).join(". ");
}
