// How far a wave is, and when it may begin.
import type { Wave, WaveInput } from "../api/types";
import { minute, parseTime, plural } from "./format";

const sum = (w: Wave, ...states: string[]) => states.reduce((n, s) => n + (w.jobs[s] ?? 0), 0);

export const totalOf = (w: Wave) => Object.values(w.jobs).reduce((n, x) => n + x, 0);
export const unfinishedOf = (w: Wave) => sum(w, "queued", "running", "waiting");

/** Parts of the whole, for a bar: done, in deltas, copying, failed, not begun. */
export function partsOf(w: Wave): { name: string; count: number; kind: "ok" | "wait" | "run" | "bad" | "none" }[] {
  const parts = [
    { name: "completed", count: sum(w, "completed"), kind: "ok" as const },
    { name: "waiting", count: sum(w, "waiting"), kind: "wait" as const },
    { name: "running", count: sum(w, "running"), kind: "run" as const },
    { name: "failed or stopped", count: sum(w, "failed", "stopped"), kind: "bad" as const },
    { name: "queued", count: sum(w, "queued"), kind: "none" as const },
    { name: "cancelled", count: sum(w, "cancelled"), kind: "none" as const },
  ];
  return parts.filter((p) => p.count > 0);
}

export function progressText(w: Wave): string {
  const total = totalOf(w);
  if (total === 0) return "no jobs yet";
  return `${sum(w, "completed")} of ${plural(total, "job")} completed`;
}

/** Waves that go first and have something that has not come to its deltas. */
export function blockedBy(w: Wave, all: Wave[]): string[] {
  return all.filter((x) => (x.position ?? 0) < (w.position ?? 0) && sum(x, "queued", "running") > 0).map((x) => x.name);
}

export function windowText(w: Pick<Wave, "not_before" | "not_after">): string {
  if (!w.not_before && !w.not_after) return "at any time";
  if (!w.not_after) return `from ${minute(w.not_before)}`;
  return w.not_before ? `${minute(w.not_before)} to ${minute(w.not_after)}` : `until ${minute(w.not_after)}`;
}

export function waveProblems(name: string, input: WaveInput, others: Wave[], now = new Date()): string[] {
  const found: string[] = [];
  const bytes = new TextEncoder().encode(name.trim()).length;
  if (bytes === 0) found.push("a wave needs a name");
  if (bytes > 64) found.push("the name has 64 bytes at most");
  if (others.some((w) => w.name === name.trim())) found.push(`there is a wave ${name.trim()} already`);
  const from = parseTime(input.not_before);
  const to = parseTime(input.not_after);
  if (from && to && to <= from) found.push("its window ends before it begins");
  if (to && to <= now) found.push("its window is over: no job of it would begin");
  return found;
}
