import { Alert, Button, Card, Checkbox, Descriptions, Input, Tabs, Tag, Timeline } from "antd";
import { useEffect, useMemo, useRef, useState } from "react";
import { seg, url } from "../api/client";
import { isOver, useJob, useJobEvents, useJobLog, useJobReport } from "../api/hooks";
import type { Finding, JobDetail, JobDisk } from "../api/types";
import { ActionButtons } from "../components/actions";
import { Chart } from "../components/chart";
import { Bar, kindName, situation, StateTag } from "../components/job-bits";
import { Loaded, Nothing, PageHead } from "../components/states";
import { WideTable } from "../components/wide-table";
import * as f from "../lib/format";
import { download } from "../lib/local";
import { href, replaceQuery, useRoute } from "../lib/router";
import { samplesOf } from "../lib/samples";

function Log({ id, follow }: { id: string; follow: boolean }) {
  const log = useJobLog(id, 2000, follow);
  const [text, setText] = useState("");
  const [tail, setTail] = useState(true);
  const box = useRef<HTMLPreElement>(null);
  const lines = useMemo(() => (log.data ?? "").split("\n").filter((l) => l.toLowerCase().includes(text.toLowerCase())), [log.data, text]);
  useEffect(() => {
    if (tail && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines, tail]);
  return (
    <Loaded query={log}>
      <div className="row" style={{ marginBottom: 8 }}>
        <Input.Search aria-label="Search the log" placeholder="Only lines with" allowClear style={{ width: 240 }} onChange={(e) => setText(e.target.value)} />
        <Checkbox checked={tail} onChange={(e) => setTail(e.target.checked)}>Follow</Checkbox>
        <span className="grow muted num">{f.plural(lines.length, "line")}</span>
        <Button href={url(`/api/v1/jobs/${seg(id)}/log`, { download: true })} download={`${id}.log`}>Download all</Button>
      </div>
      <pre className="text log" ref={box} tabIndex={0} aria-label="Log">{lines.join("\n") || "Nothing."}</pre>
    </Loaded>
  );
}

export function Findings({ list }: { list: Finding[] }) {
  const color = { pass: "success", warning: "warning", failure: "error" } as const;
  if (list.length === 0) return <Nothing>There are no findings</Nothing>;
  return (
    <ul className="plain">
      {list.map((x, i) => (
        <li key={i}>
          <Tag color={color[x.level]}>{x.level}</Tag> {x.vm && <strong>{x.vm}: </strong>}{x.text}
          {x.hint && <div className="muted">{x.hint}</div>}
          <div className="mono muted">{x.code}</div>
        </li>
      ))}
    </ul>
  );
}

function Report({ id }: { id: string }) {
  const report = useJobReport(id);
  const s = report.data?.summary;
  return (
    <Loaded query={report}>
      <div className="row no-print" style={{ marginBottom: 12 }}>
        <Button onClick={() => window.print()}>Print</Button>
        <Button onClick={() => download(`${id}-report.json`, JSON.stringify(report.data, null, 2), "application/json")}>Download JSON</Button>
      </div>
      {s && report.data?.job.kind === "migrate" && (
        <Descriptions size="small" bordered column={{ xs: 1, md: 2 }} items={[
          { key: 1, label: "Downtime", children: f.milliseconds(s.downtime_ms) },
          { key: 2, label: "Copied", children: f.bytes(s.copied_bytes) },
          { key: 3, label: "Verified", children: f.bytes(s.verified_bytes) },
          { key: 4, label: "Blocks that differed", children: s.mismatched_blocks ?? "–" },
          { key: 5, label: "Powered off", children: f.time(s.powered_off_at) },
          { key: 6, label: "Imported", children: f.time(s.imported_at) },
        ]} />
      )}
      {report.data?.warnings?.map((w) => <Alert key={w} type="warning" showIcon title={w} style={{ marginTop: 8 }} />)}
      <h2 style={{ fontSize: 15 }}>Findings</h2>
      <Findings list={report.data?.findings ?? []} />
    </Loaded>
  );
}

function Disks({ job }: { job: JobDetail }) {
  return (
    <WideTable<JobDisk> label="Disks" width={760} rowKey="key" pagination={false} dataSource={job.disks ?? []} columns={[
      { title: "Disk", render: (_, d) => <>{d.name} {d.boot && <Tag>boot</Tag>}<div className="muted mono">{d.address}</div></> },
      { title: "Size", className: "num", render: (_, d) => f.bytes(d.bytes) },
      { title: "Stage", render: (_, d) => f.stage(d.stage) },
      { title: "Progress", width: 160, render: (_, d) => <><Bar value={d.progress} label={`Progress of ${d.name}`} /><span className="num muted">{f.percent(d.progress)}</span></> },
      { title: "Read", className: "num", render: (_, d) => `${f.bytes(d.read_bytes)} of ${f.bytes(d.planned_bytes)}` },
      { title: "Rate", className: "num", render: (_, d) => f.rate(d.rate_bytes_per_s) },
      { title: "Deltas", className: "num", render: (_, d) => d.delta_rounds ?? 0 },
    ]} />
  );
}

function Charts({ job }: { job: JobDetail }) {
  const points = useMemo(() => {
    const told = (job.throughput ?? []).map((p) => ({ at: Date.parse(p.at), value: p.bytes_per_s }));
    return told.length > 1 ? told : [...samplesOf(job.id)];
  }, [job]);
  const x = useMemo(() => points.map((p) => p.at / 1000), [points]);
  const y = useMemo(() => points.map((p) => p.value), [points]);
  const rounds = job.rounds;
  const rx = useMemo(() => (rounds ?? []).map((r) => r.number), [rounds]);
  const ry = useMemo(() => (rounds ?? []).map((r) => r.changed_bytes), [rounds]);
  return (
    <div className="two">
      <Card title="Throughput" size="small">
        {x.length > 1 ? <Chart label={`Throughput, at last ${f.rate(y[y.length - 1])}`} x={x} y={y} unit="rate" time /> : <Nothing>Nothing was copied while this page was open</Nothing>}
      </Card>
      <Card title="Size of the deltas" size="small">
        {rx.length > 0 ? <Chart label={`Sizes of ${rx.length} deltas, the last ${f.bytes(ry[ry.length - 1])}`} x={rx} y={ry} unit="bytes" time={false} bars /> : <Nothing>No delta has been made yet</Nothing>}
      </Card>
    </div>
  );
}

function Body({ job }: { job: JobDetail }) {
  const { query } = useRoute();
  const events = useJobEvents(job.id, !isOver(job));
  const at = f.stageIndex(job.stage);
  const d = job.downtime;
  return (
    <div className="page">
      <PageHead title={<>{job.vm_name} <StateTag job={job} /></>} sub={`${kindName(job.kind)} · ${situation(job)} · job ${job.id}`}>
        <ActionButtons job={job} />
      </PageHead>
      {job.error && <Alert type="error" showIcon title={job.error.detail} description={<>{job.error.hint}<div className="mono">{job.error.code}</div></>} />}
      {job.required_action && <Alert type="warning" showIcon title="It waits for your decision" description={job.shutdown_reason} />}
      {job.kind === "migrate" && (
        <Card size="small">
          <ol className="stages" aria-label="Stages">
            {f.STAGE_GROUPS.map((g, i) => (
              <li key={g.title} className={job.stage === "done" || i < at ? "past" : i === at ? (job.state === "failed" ? "bad" : "now") : ""} aria-current={i === at ? "step" : undefined}>{g.title}</li>
            ))}
          </ol>
          <div style={{ marginTop: 14 }}><Bar value={job.progress ?? 0} label={`Progress of ${job.vm_name}`} /></div>
          <div className="row num muted" style={{ marginTop: 6, gap: 20 }}>
            <span>{f.percent(job.progress ?? 0)}</span><span>{f.rate(job.rate_bytes_per_s)}</span><span>{f.duration(job.eta_s)} left</span>
            <span>{f.plural(job.delta_rounds ?? 0, "delta")}, the last {f.bytes(job.last_delta_bytes)}</span>
            <span>predicted downtime {f.milliseconds(job.predicted_downtime_ms)}</span>
          </div>
        </Card>
      )}
      <Card size="small">
        <Tabs activeKey={query.get("tab") ?? (job.kind === "check" ? "report" : "watch")} onChange={(k) => replaceQuery({ tab: k })} destroyOnHidden items={[
          { key: "watch", label: "Watch", children: <div className="page"><Charts job={job} /><Disks job={job} /></div> },
          {
            key: "timeline", label: "Timeline",
            children: <Loaded query={events}><Timeline items={(events.data ?? []).map((e) => ({ key: e.id, color: /error|fail/.test(`${e.kind} ${e.text}`) ? "red" : e.kind === "stage" ? "blue" : "gray", content: <><span className="num muted">{f.time(e.at)}</span> <Tag>{e.kind}</Tag> {e.kind === "stage" ? f.stage(e.text) : e.text}</> }))} /></Loaded>,
          },
          { key: "log", label: "Log", children: <Log id={job.id} follow={!isOver(job)} /> },
          { key: "report", label: "Report", children: <Report id={job.id} /> },
          {
            key: "details", label: "Details",
            children: (
              <>
                <Descriptions size="small" bordered column={{ xs: 1, md: 2 }} items={[
                  { key: 1, label: "Created", children: `${f.time(job.created_at)} by ${job.created_by ?? "–"}` },
                  { key: 2, label: "Started", children: f.time(job.started_at) },
                  { key: 3, label: "Ended", children: f.time(job.finished_at) },
                  { key: 4, label: "Retry of", children: job.retry_of ? <a href={href(`/jobs/${job.retry_of}`)}>{job.retry_of}</a> : "–" },
                  { key: 5, label: "Moref", children: job.vm_moref ?? "–" },
                  { key: 6, label: "VM in CloudStack", children: job.cloudstack_vm_id ?? "–" },
                  { key: 7, label: "Directory", children: <span className="mono">{job.directory ?? "–"}</span> },
                  { key: 8, label: "Downtime, if now", children: d ? `${f.milliseconds(d.total_now_ms)} (shutdown ${f.milliseconds(d.shutdown_ms)}, sync ${f.milliseconds(d.sync_ms)}, import ${f.milliseconds(d.import_ms)})` : "–" },
                ]} />
                <h2 style={{ fontSize: 15 }}>Spec</h2>
                <pre className="text" tabIndex={0} aria-label="Spec">{job.spec ?? ""}</pre>
              </>
            ),
          },
        ]} />
      </Card>
    </div>
  );
}

export default function JobPage() {
  const { path } = useRoute();
  const job = useJob(path[1] ?? "");
  return <Loaded query={job}>{job.data && <Body job={job.data} />}</Loaded>;
}
