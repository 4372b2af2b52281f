// Rates of jobs as this page saw them, for the charts: a short memory, thinned out when it is full.
import type { Job } from "../api/types";

export interface Sample {
  at: number;
  value: number;
}

const LIMIT = 1200;
const store = new Map<string, Sample[]>();

export function push(list: Sample[], sample: Sample, limit = LIMIT): Sample[] {
  const last = list[list.length - 1];
  if (last && sample.at - last.at < 900) {
    list[list.length - 1] = { at: last.at, value: sample.value };
    return list;
  }
  list.push(sample);
  // Every second one of the older half goes; what is recent stays as it is.
  if (list.length > limit) {
    const half = Math.floor(list.length / 2);
    return [...list.slice(0, half).filter((_, i) => i % 2 === 0), ...list.slice(half)];
  }
  return list;
}

export function remember(job: Pick<Job, "id" | "state" | "rate_bytes_per_s">): void {
  if (job.rate_bytes_per_s === undefined || job.state !== "running") return;
  store.set(job.id, push(store.get(job.id) ?? [], { at: Date.now(), value: job.rate_bytes_per_s }));
}

export function samplesOf(id: string): Sample[] {
  return store.get(id) ?? [];
}
