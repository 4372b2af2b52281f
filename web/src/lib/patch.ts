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

/** How far a job that copies is; told more often than the rest of it. */
export type Progress = Pick<Job, "id" | "progress" | "rate_bytes_per_s" | "eta_s">;

/** A job with what was told of its progress; the same object when that is nothing new. */
export function withProgress<J extends Job>(job: J, told: Map<string, Progress>): J {
  const now = told.get(job.id);
  if (!now || (now.progress === job.progress && now.rate_bytes_per_s === job.rate_bytes_per_s && now.eta_s === job.eta_s)) return job;
  return { ...job, ...now };
}
