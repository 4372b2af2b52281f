// One job: where it is, how it goes, what happened, what came of it.
import { Alert, Card, Tabs, Tag, Timeline } from "antd";
import { isOver, useJob, useJobEvents } from "../../api/hooks";
import type { JobDetail, JobEvent } from "../../api/types";
import { ActionButtons } from "../../components/actions";
import { Bar, barClass, kindName, situation, StateTag } from "../../components/job-bits";
import { Loaded, Nothing, PageHead } from "../../components/states";
import * as f from "../../lib/format";
import { href, replaceQuery, useRoute } from "../../lib/router";
import { Details } from "./details";
import { Log } from "./log";
import { Report } from "./report";
import { Watch } from "./watch";

function Stages({ job }: { job: JobDetail }) {
  const at = f.stageIndex(job.stage);
  const classOf = (i: number) => {
    if (job.stage === "done" || i < at) return "past";
    if (i !== at) return "";
    return job.state === "failed" ? "bad" : "now";
  };
  return (
    <ol className="stages" aria-label="Stages">
      {f.STAGE_GROUPS.map((g, i) => (
        <li key={g.title} className={classOf(i)} aria-current={i === at ? "step" : undefined}>{g.title}</li>
      ))}
    </ol>
  );
}

/** The cutover's time is in the spec only. */
export function cutoverOf(spec: string | undefined): string | null {
  return /^\s*finalize_at:\s*["']?([^"'\n]+?)["']?\s*$/m.exec(spec ?? "")?.[1] ?? null;
}

function Now({ job }: { job: JobDetail }) {
  const cutover = isOver(job) ? null : f.parseTime(cutoverOf(job.spec));
  return (
    <Card size="small">
      <Stages job={job} />
      <div style={{ marginTop: 14 }}>
        <Bar value={job.progress ?? 0} className={barClass(job)} label={`Progress of ${job.vm_name}`} />
      </div>
      <div className="row num muted facts">
        <span>{f.percent(job.progress ?? 0)}</span>
        {job.state === "running" && job.rate_bytes_per_s ? <span>{f.rate(job.rate_bytes_per_s)}</span> : null}
        {job.eta_s != null && <span>{f.duration(job.eta_s)} left</span>}
        {Boolean(job.delta_rounds) && <span>{f.plural(job.delta_rounds!, "delta")}, the last {f.bytes(job.last_delta_bytes)}</span>}
        {job.predicted_downtime_ms != null && <span>predicted downtime {f.milliseconds(job.predicted_downtime_ms)}</span>}
        {cutover && <span>cutover {f.time(cutover.toISOString())}, {f.fromNow(cutover.toISOString())}</span>}
        {job.wave && <span>wave <a href={href("/waves", { wave: job.wave })}>{job.wave}</a></span>}
      </div>
    </Card>
  );
}

function colorOf(e: JobEvent): string {
  if (e.kind === "error" || /error|fail/i.test(e.text)) return "red";
  if (e.kind === "warning") return "orange";
  return e.kind === "stage" ? "blue" : "gray";
}

function History({ job }: { job: JobDetail }) {
  const events = useJobEvents(job.id, !isOver(job));
  const list = events.data ?? [];
  return (
    <Loaded query={events}>
      {list.length === 0 ? <Nothing>Nothing has happened yet</Nothing> : (
        <Timeline items={list.map((e) => ({
          key: e.id, color: colorOf(e),
          content: (
            <>
              <span className="num muted">{f.time(e.at)}</span> <Tag>{e.kind}</Tag> {e.kind === "stage" ? f.stage(e.text) : e.text}
            </>
          ),
        }))} />
      )}
    </Loaded>
  );
}

function Notices({ job }: { job: JobDetail }) {
  return (
    <>
      {job.error && (
        <Alert type="error" showIcon title={job.error.detail}
          description={<>{job.error.hint}<div className="mono">{job.error.code}</div></>} />
      )}
      {job.required_action && <Alert type="warning" showIcon title="It waits for your decision" description={job.shutdown_reason} />}
      {job.waits_for_space && <Alert type="warning" showIcon title="There is no room for it" description={job.waits_for_space} />}
      {job.paused && <Alert type="info" showIcon title="It is paused" />}
    </>
  );
}

function Body({ job }: { job: JobDetail }) {
  const { query } = useRoute();
  const first = job.kind === "migrate" ? "watch" : job.kind === "check" ? "report" : "log";
  const tabs = [
    ...(job.kind === "migrate" ? [{ key: "watch", label: "Watch", children: <Watch job={job} /> }] : []),
    { key: "timeline", label: "Timeline", children: <History job={job} /> },
    { key: "log", label: "Log", children: <Log id={job.id} follow={!isOver(job)} /> },
    { key: "report", label: "Report", children: <Report id={job.id} /> },
    { key: "details", label: "Details", children: <Details job={job} /> },
  ];
  return (
    <div className="page">
      <PageHead title={<>{job.vm_name} <StateTag job={job} /></>} sub={`${kindName(job.kind)} · ${situation(job)} · job ${job.id}`}>
        <ActionButtons job={job} />
      </PageHead>
      <Notices job={job} />
      {job.kind === "migrate" && <Now job={job} />}
      <Card size="small">
        <Tabs activeKey={query.get("tab") ?? first} onChange={(tab) => replaceQuery({ tab })} destroyOnHidden items={tabs} />
      </Card>
    </div>
  );
}

export default function JobPage() {
  const { path } = useRoute();
  const job = useJob(path[1] ?? "");
  if (!job.data)
    return (
      <div className="page">
        <PageHead title="Job" sub={path[1]} />
        <Loaded query={job}>{null}</Loaded>
        {job.error && <p><a href="#/jobs">All jobs</a></p>}
      </div>
    );
  return <Loaded query={job}><Body job={job.data} /></Loaded>;
}
