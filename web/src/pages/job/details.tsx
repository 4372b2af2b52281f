// Who began a job, when, with what; the spec that it runs.
import { Button, Descriptions } from "antd";
import type { JobDetail } from "../../api/types";
import * as f from "../../lib/format";
import { download } from "../../lib/local";
import { href } from "../../lib/router";

function downtimeText(d: NonNullable<JobDetail["downtime"]>): string {
  const parts = [
    `shutdown ${f.milliseconds(d.shutdown_ms)}`, `sync ${f.milliseconds(d.sync_ms)}`,
    ...(d.convert_ms ? [`conversion ${f.milliseconds(d.convert_ms)}`] : []), `import ${f.milliseconds(d.import_ms)}`,
  ];
  return `${f.milliseconds(d.total_now_ms)} (${parts.join(", ")})`;
}

export function Details({ job }: { job: JobDetail }) {
  const d = job.downtime;
  return (
    <div className="stack">
      <Descriptions size="small" bordered column={{ xs: 1, md: 2 }} items={[
        { key: "created", label: "Created", children: `${f.time(job.created_at)} by ${job.created_by || "–"}` },
        { key: "before", label: "Not before", children: f.time(job.not_before) },
        { key: "started", label: "Started", children: f.time(job.started_at) },
        { key: "ended", label: "Ended", children: f.time(job.finished_at) },
        { key: "wave", label: "Wave", children: job.wave ? <a href={href("/waves", { wave: job.wave })}>{job.wave}</a> : "–" },
        { key: "priority", label: "Priority", children: job.priority ?? 0 },
        { key: "retry", label: "Retry of", children: job.retry_of ? <a href={href(`/jobs/${job.retry_of}`)}>{job.retry_of}</a> : "–" },
        { key: "moref", label: "Moref", children: <span className="mono">{job.vm_moref ?? "–"}</span> },
        { key: "target", label: "VM in CloudStack", children: <span className="mono">{job.cloudstack_vm_id ?? "–"}</span> },
        { key: "downtime", label: "Downtime, if now", children: d ? downtimeText(d) : "–" },
        { key: "directory", label: "Directory", children: <span className="mono">{job.directory ?? "–"}</span> },
      ]} />
      <div className="row">
        <h2 className="grow">Spec</h2>
        {job.spec && <Button size="small" onClick={() => download(`${job.vm_name}.yaml`, job.spec!, "application/yaml")}>Download</Button>}
      </div>
      <pre className="text" tabIndex={0} aria-label="Spec">{job.spec || "Nothing."}</pre>
    </div>
  );
}
