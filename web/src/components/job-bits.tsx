// Small parts of a job that several pages show: its state, its progress, where it is.
import { Tag, Tooltip } from "antd";
import type { Job, JobKind, JobState } from "../api/types";
import * as f from "../lib/format";
import { useProgress } from "../lib/progress";

const COLOR: Record<JobState, string> = {
  queued: "default", running: "processing", waiting: "geekblue", completed: "success", failed: "error", stopped: "warning",
  cancelled: "default",
};

export function StateTag({ job }: { job: Pick<Job, "state" | "required_action" | "paused" | "error" | "waits_for"> }) {
  if (job.required_action) return <Tag color="warning">needs you</Tag>;
  if (job.paused && job.state === "running") return <Tag color="warning">paused</Tag>;
  const tag = <Tag color={COLOR[job.state]}>{job.state}</Tag>;
  const why = job.error?.detail ?? job.waits_for;
  return why ? <Tooltip title={why}>{tag}</Tooltip> : tag;
}

const KIND: Record<JobKind, string> = {
  migrate: "migration", check: "preflight check", rehearse: "rehearsal", cancel: "clean-up", rollback: "rollback",
};
export const kindName = (kind: JobKind) => KIND[kind];

export function barClass(job: Pick<Job, "state">): string {
  const kinds: Partial<Record<JobState, string>> = { waiting: "wait", failed: "bad", completed: "ok", stopped: "off", cancelled: "off" };
  return `bar ${kinds[job.state] ?? ""}`;
}

export function Bar({ value, className = "bar", label }: { value: number; className?: string; label: string }) {
  const shown = Math.min(100, Math.max(0, value));
  return (
    <div className={className} role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={100}
      aria-valuenow={Math.floor(shown)}>
      <span style={{ width: `${shown}%` }} />
    </div>
  );
}

/** One thin bar a disk, side by side; the same in words for those who do not see them. */
export function DiskBars({ job }: { job: Job }) {
  const disks = job.disk_progress ?? [];
  if (disks.length < 2) return null;
  const text = disks.map((d) => `${d.name}: ${f.percent(d.progress)}`);
  return (
    <Tooltip title={<>{text.map((t) => <div key={t}>{t}</div>)}</>}>
      <div className="disk-bars" role="img" aria-label={`Disks. ${text.join(". ")}`}>
        {disks.map((d, i) => (
          <div key={i} className={barClass(job)}><span style={{ width: `${Math.min(100, Math.max(0, d.progress))}%` }} /></div>
        ))}
      </div>
    </Tooltip>
  );
}

export function ProgressCell({ job: read }: { job: Job }) {
  const job = useProgress(read);
  const copies = job.state === "running" && !job.paused;
  return (
    <div className="progress-cell">
      <Bar value={job.progress ?? 0} className={barClass(job)} label={`Progress of ${job.vm_name}`} />
      <DiskBars job={job} />
      <div className="row-tight num muted spread">
        <span>{f.percent(job.progress ?? 0)}</span>
        {copies && job.rate_bytes_per_s ? <span>{f.rate(job.rate_bytes_per_s)}</span> : null}
      </div>
    </div>
  );
}

export function TimeLeft({ job }: { job: Job }) {
  return <>{f.duration(useProgress(job).eta_s)}</>;
}

/** Where it is, in one line. */
export function situation(job: Job): string {
  if (job.required_action) return job.shutdown_reason ?? "waits for your decision";
  if (job.state === "queued") return job.waits_for ?? "waits for its turn";
  if (job.waits_for_space) return job.waits_for_space;
  if (job.state === "failed" && job.error) return job.error.detail;
  if (job.finalize_requested && job.stage === "delta") return "Cutover requested";
  return job.stage ? f.stage(job.stage) : kindName(job.kind);
}
