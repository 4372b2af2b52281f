// What can be done with jobs, one or many: names, words, and for which of them it is possible.
import type { Job, JobAction } from "../api/types";

/** Beside the actions of the API: what this page makes of them and of PATCH and DELETE. */
export type Choice = JobAction | "finalize-now" | "plan" | "forget";

export interface Say {
  /** With "…" where a dialog asks something. */
  label: string;
  text: string;
  /** Cannot be taken back: the name of the VM, or the number of VMs, has to be typed. */
  danger?: boolean;
}

export const ACTIONS: Record<Choice, Say> = {
  finalize: {
    label: "Finalize…",
    text: "One more delta is copied, then the VM is shut down, its last changes are copied, and it is imported into CloudStack.",
  },
  "finalize-now": {
    label: "Finalize now…",
    text: "The VM is shut down at once, without another delta before: the downtime is longer. Then it is imported into CloudStack.",
    danger: true,
  },
  shutdown: { label: "Decide the shutdown…", text: "The guest did not shut down by itself." },
  pause: { label: "Pause", text: "The copying pauses; snapshots stay." },
  resume: { label: "Resume", text: "The copying goes on." },
  plan: { label: "Reschedule…", text: "Wave, priority and start of what has not begun yet." },
  bandwidth: { label: "Bandwidth…", text: "How fast each may read." },
  stop: { label: "Stop", text: "It ends at its next checkpoint; a retry goes on from there." },
  retry: { label: "Retry", text: "A new job goes on where this one ended." },
  rehearse: { label: "Rehearse", text: "The conversion is tried on a throw-away copy; the VM is not touched." },
  forget: { label: "Forget", text: "The job and its log leave the list. The migration's own files and state stay." },
  cancel: {
    label: "Cancel…",
    text: "The migration is given up: its snapshots and, unless they are kept, its target files are removed.",
    danger: true,
  },
  rollback: {
    label: "Roll back…",
    text: "The VM in CloudStack is removed, and the source is powered on. What was written in CloudStack since the cutover is lost.",
    danger: true,
  },
};

/** The order in which they are offered. */
export const ORDER = Object.keys(ACTIONS) as Choice[];

export const nameOf = (choice: Choice) => ACTIONS[choice].label.replace("…", "");

const isOver = (job: Pick<Job, "state">) => ["completed", "failed", "stopped", "cancelled"].includes(job.state);

export function allows(job: Job, choice: Choice): boolean {
  if (choice === "plan") return job.state === "queued" && job.kind === "migrate";
  if (choice === "forget") return isOver(job);
  return (job.actions ?? []).includes(choice === "finalize-now" ? "finalize" : choice);
}

export const choicesOf = (job: Job): Choice[] => ORDER.filter((c) => allows(job, c));

export interface Offer {
  choice: Choice;
  /** For which of the jobs it can be done now, and for which not. */
  jobs: Job[];
  others: Job[];
}

/** What can be done with at least one of them. */
export function offersOf(jobs: Job[]): Offer[] {
  return ORDER.map((choice) => ({
    choice,
    jobs: jobs.filter((j) => allows(j, choice)),
    others: jobs.filter((j) => !allows(j, choice)),
  })).filter((o) => o.jobs.length > 0);
}

export const offerLabel = (o: Offer): string => {
  const all = o.jobs.length + o.others.length;
  return o.others.length === 0 ? ACTIONS[o.choice].label : `${ACTIONS[o.choice].label} (${o.jobs.length} of ${all})`;
};

/** What has to be typed before it is done; null: nothing. */
export function wordOf(choice: Choice, jobs: Job[]): string | null {
  if (!ACTIONS[choice].danger) return null;
  return jobs.length === 1 ? jobs[0]!.vm_name : String(jobs.length);
}

export interface Outcome {
  job: Job;
  /** "" when it worked. */
  error: string;
  hint?: string;
  sent: boolean;
}

/** Some at a time, all of them, whatever becomes of the others; `told` after each. */
export async function runEach(
  jobs: Job[], act: (job: Job) => Promise<unknown>, told: (outcomes: Outcome[]) => void, stopped: () => boolean, lanes = 4,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  let next = 0;
  const lane = async () => {
    while (next < jobs.length) {
      const job = jobs[next++]!;
      if (stopped()) outcomes.push({ job, sent: false, error: "not asked for: it was stopped before" });
      else {
        const outcome: Outcome = { job, sent: true, error: "" };
        try {
          await act(job);
        } catch (e) {
          outcome.error = (e as Error).message || "it failed";
          outcome.hint = (e as { hint?: string }).hint;
        }
        outcomes.push(outcome);
      }
      told([...outcomes]);
    }
  };
  await Promise.all(Array.from({ length: Math.min(lanes, jobs.length) }, lane));
  return outcomes;
}
