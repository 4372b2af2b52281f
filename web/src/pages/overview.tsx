import { Button, Card, Statistic } from "antd";
import { useMemo } from "react";
import { useOverview } from "../api/hooks";
import type { Job } from "../api/types";
import { ActionMenu } from "../components/actions";
import { Chart } from "../components/chart";
import { situation, StateTag } from "../components/job-bits";
import { Loaded, Nothing, PageHead } from "../components/states";
import * as f from "../lib/format";
import { href } from "../lib/router";

function List({ jobs, empty, when }: { jobs: Job[]; empty: string; when?: boolean }) {
  if (jobs.length === 0) return <Nothing>{empty}</Nothing>;
  return (
    <ul className="plain">
      {jobs.slice(0, 20).map((j) => (
        <li key={j.id} className="row-tight">
          <div className="grow"><a href={href(`/jobs/${j.id}`)}><strong>{j.vm_name}</strong></a><div className="muted">{when ? f.time(j.not_before) : (j.error?.detail ?? situation(j))}</div></div>
          <StateTag job={j} /><ActionMenu job={j} />
        </li>
      ))}
    </ul>
  );
}

export default function OverviewPage() {
  const overview = useOverview();
  const o = overview.data;
  const points = o?.throughput;
  const x = useMemo(() => (points ?? []).map((p) => Date.parse(p.at) / 1000), [points]);
  const y = useMemo(() => (points ?? []).map((p) => p.bytes_per_s), [points]);
  return (
    <div className="page">
      <PageHead title="Overview"><Button type="primary" href="#/vms">New migration</Button></PageHead>
      <Loaded query={overview}>
        {o && (
          <>
            <div className="cards">
              {(["running", "waiting", "queued", "completed", "failed"] as const).map((s) => (
                <Card key={s} size="small" className="stat"><a href={href("/jobs", { state: s })}>{s}</a><Statistic value={o.jobs[s] ?? 0} /></Card>
              ))}
              <Card size="small" className="stat"><span className="muted">copied, in all</span><Statistic value={f.bytes(o.bytes_copied)} /></Card>
              <Card size="small" className="stat"><span className="muted">rate now</span><Statistic value={f.rate(o.rate_bytes_per_s)} /></Card>
            </div>
            <Card size="small" title="Throughput">{x.length > 1 ? <Chart label={`Throughput of all jobs, at last ${f.rate(y[y.length - 1])}`} x={x} y={y} unit="rate" time /> : <Nothing>Nothing has been copied yet</Nothing>}</Card>
            <div className="two">
              <Card size="small" title="Needs a person"><List jobs={o.needs_person} empty="Nothing needs you" /></Card>
              <Card size="small" title="Scheduled"><List jobs={o.scheduled} empty="Nothing is scheduled" when /></Card>
            </div>
          </>
        )}
      </Loaded>
    </div>
  );
}
