// How far the jobs are that copy, as the stream told last.  It is beside the query cache, so that what moves every two
// seconds draws its own cells anew and not whole tables.
import { useCallback, useSyncExternalStore } from "react";
import type { Job } from "../api/types";

export type Progress = Pick<Job, "id" | "progress" | "rate_bytes_per_s" | "eta_s">;

const told = new Map<string, Progress>();
const listeners = new Map<string, Set<() => void>>();

export function tell(list: Progress[]): void {
  for (const p of list) told.set(p.id, p);
  for (const p of list) for (const l of listeners.get(p.id) ?? []) l();
}

/** The job itself was told of, which is newer. */
export function forget(id: string): void {
  if (told.delete(id)) for (const l of listeners.get(id) ?? []) l();
}

/** A job with what was told of it; the same object when that is nothing. */
export function withProgress<J extends Job>(job: J, p: Progress | undefined): J {
  return p ? { ...job, ...p } : job;
}

export function useProgress(job: Job): Job {
  const subscribe = useCallback((l: () => void) => {
    const set = listeners.get(job.id) ?? new Set();
    listeners.set(job.id, set.add(l));
    return () => {
      set.delete(l);
      if (set.size === 0) listeners.delete(job.id);
    };
  }, [job.id]);
  return withProgress(job, useSyncExternalStore(subscribe, () => told.get(job.id)));
}
