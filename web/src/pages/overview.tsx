// The fleet at a glance: how far it is, how fast, what needs a person, what is to come.
import { Button, Card, Statistic, Tag } from "antd";
import { useMemo } from "react";
import { useOverview, useWaves } from "../api/hooks";
import type { Job, Overview, Wave } from "../api/types";
import { ActionMenu } from "../components/actions";
import { Chart } from "../components/chart";
import { situation, StateTag } from "../components/job-bits";
import { Loaded, Nothing, PageHead } from "../components/states";
import * as f from "../lib/format";
import { href } from "../lib/router";
import { useSession } from "../session";
import { unfinishedOf, windowText } from "../lib/waves";

const SHOWN = 12;

function JobLine({ job, text }: { job: Job; text: string }) {
  return (
    <li className="row-tight">
      <div className="grow">
        <a href={href(`/jobs/${job.id}`)}><strong>{job.vm_name}</strong></a>
        <div className="muted">{text}</div>
      </div>
      <StateTag job={job} />
      <ActionMenu job={job} />
    </li>
  );
}

function Persons({ jobs }: { jobs: Job[] }) {
  if (jobs.length === 0) return <Nothing>Nothing needs you</Nothing>;
  // A decision that somebody waits for comes before a failure, which does not run away.
  const sorted = [...jobs].sort((a, b) => Number(a.state === "failed") - Number(b.state === "failed"));
  return (
    <>
      <ul className="plain">{sorted.slice(0, SHOWN).map((j) => <JobLine key={j.id} job={j} text={situation(j)} />)}</ul>
      {jobs.length > SHOWN && (
        <p className="muted">
          And {jobs.length - SHOWN} more: <a href={href("/jobs", { state: "failed" })}>failed</a>,{" "}
          <a href={href("/jobs", { state: "waiting" })}>waiting</a>
        </p>
      )}
    </>
  );
}

function Scheduled({ jobs, waves }: { jobs: Job[]; waves: Wave[] }) {
  const coming = waves.filter((w) => unfinishedOf(w) > 0 && w.not_before && Date.parse(w.not_before) > Date.now());
  if (jobs.length + coming.length === 0) return <Nothing>Nothing is scheduled</Nothing>;
  const sorted = [...jobs].sort((a, b) => String(a.not_before).localeCompare(String(b.not_before)));
  return (
    <>
      <ul className="plain">
        {coming.map((w) => (
          <li key={w.name} className="row-tight">
            <div className="grow">
              <a href={href("/waves", { wave: w.name })}><strong>{w.name}</strong></a>
              <div className="muted">{windowText(w)}, {f.fromNow(w.not_before)}</div>
            </div>
            <Tag>wave of {f.plural(unfinishedOf(w), "job")}</Tag>
          </li>
        ))}
        {sorted.slice(0, SHOWN).map((j) => <JobLine key={j.id} job={j} text={`${f.minute(j.not_before)}, ${f.fromNow(j.not_before)}`} />)}
      </ul>
      {jobs.length > SHOWN && (
        <p className="muted">And {jobs.length - SHOWN} more: <a href={href("/jobs", { state: "queued" })}>queued</a></p>
      )}
    </>
  );
}

const STATES = ["running", "waiting", "queued", "completed", "failed", "stopped"] as const;
const HELP: Partial<Record<(typeof STATES)[number], string>> = { waiting: "in deltas, or for a person" };

function Totals({ o }: { o: Overview }) {
  return (
    <div className="cards">
      {STATES.map((s) => (
        <Card key={s} size="small" className="stat">
          <a href={href("/jobs", { state: s, history: "1" })} title={HELP[s]}>{s}</a>
          <Statistic value={o.jobs[s] ?? 0} />
        </Card>
      ))}
      <Card size="small" className="stat"><span className="muted">copied, in all</span><Statistic value={f.bytes(o.bytes_copied)} /></Card>
      <Card size="small" className="stat"><span className="muted">rate now</span><Statistic value={f.rate(o.rate_bytes_per_s)} /></Card>
    </div>
  );
}

export default function OverviewPage() {
  const { can } = useSession();
  const overview = useOverview();
  const waves = useWaves();
  const o = overview.data;
  const points = o?.throughput;
  const x = useMemo(() => (points ?? []).map((p) => Date.parse(p.at) / 1000), [points]);
  const y = useMemo(() => (points ?? []).map((p) => p.bytes_per_s), [points]);
  const peak = y.length ? Math.max(...y) : 0;
  return (
    <div className="page">
      <PageHead title="Overview">{can("operator") && <Button type="primary" href="#/vms">New migration</Button>}</PageHead>
      <Loaded query={overview}>
        {o && (
          <>
            <Totals o={o} />
            <Card size="small" title="Throughput" extra={x.length > 1 && <span className="muted num">at most {f.rate(peak)}</span>}>
              {x.length > 1 ? (
                <Chart label={`Throughput of all jobs, at last ${f.rate(y[y.length - 1])}, at most ${f.rate(peak)}`}
                  x={x} y={y} unit="rate" time />
              ) : (
                <Nothing>Nothing has been copied yet</Nothing>
              )}
            </Card>
            <div className="two">
              <Card size="small" title="Needs a person" extra={o.needs_person.length > 0 && <Tag color="error">{o.needs_person.length}</Tag>}>
                <Persons jobs={o.needs_person} />
              </Card>
              <Card size="small" title="Scheduled"><Scheduled jobs={o.scheduled} waves={waves.data ?? []} /></Card>
            </div>
          </>
        )}
      </Loaded>
    </div>
  );
}
