// What came of a job: findings of a check; of a migration what was moved, and what the verification found.
import { Alert, Button, Descriptions, Tag } from "antd";
import { ScrollTable } from "../../components/scroll-table";
import { seg, url } from "../../api/client";
import { useJobReport } from "../../api/hooks";
import type { JobDisk, JobReport } from "../../api/types";
import { Findings } from "../../components/findings";
import { Loaded, Nothing } from "../../components/states";
import * as f from "../../lib/format";
import { download } from "../../lib/local";

/** One line that says whether what was read back is what was written. */
export function verdict(s: JobReport["summary"]): { type: "success" | "warning" | "info"; text: string } {
  if (!s?.verified_bytes) return { type: "info", text: "Nothing has been verified yet" };
  if (s.mismatched_blocks) return { type: "warning", text: `${f.plural(s.mismatched_blocks, "block")} differed and were copied again` };
  return { type: "success", text: `${f.bytes(s.verified_bytes)} were read back, and nothing differed` };
}

function Verification({ report }: { report: JobReport }) {
  const v = verdict(report.summary);
  return (
    <>
      <h2>Verification</h2>
      <Alert type={v.type} showIcon title={v.text} style={{ marginBottom: 8 }} />
      <ScrollTable<JobDisk> label="Verification by disk" size="small" rowKey="key" pagination={false} scroll={{ x: 520 }} dataSource={report.disks ?? []} columns={[
        { title: "Disk", render: (_, d) => <>{d.name} {d.boot && <Tag>boot</Tag>}</> },
        { title: "Size", className: "num", render: (_, d) => f.bytes(d.bytes) },
        { title: "Copied", className: "num", render: (_, d) => f.bytes(d.read_bytes) },
        { title: "Verified", className: "num", render: (_, d) => f.bytes(d.verified_bytes) },
        { title: "Blocks that differed", className: "num", render: (_, d) => d.mismatched_blocks ?? 0 },
      ]} />
    </>
  );
}

function Summary({ report }: { report: JobReport }) {
  const s = report.summary ?? {};
  return (
    <Descriptions size="small" bordered column={{ xs: 1, md: 2 }} items={[
      { key: 1, label: "Downtime", children: f.milliseconds(s.downtime_ms) },
      { key: 2, label: "Copied", children: f.bytes(s.copied_bytes) },
      { key: 3, label: "Delta rounds", children: s.delta_rounds ?? "–" },
      { key: 4, label: "Verified", children: f.bytes(s.verified_bytes) },
      { key: 5, label: "Powered off", children: f.time(s.powered_off_at) },
      { key: 6, label: "Imported", children: f.time(s.imported_at) },
    ]} />
  );
}

export function Report({ id }: { id: string }) {
  const query = useJobReport(id);
  const report = query.data;
  const isMigration = report?.job.kind === "migrate";
  return (
    <Loaded query={query}>
      {report && (
        <div className="stack">
          <div className="row no-print">
            <Button href={url(`/api/v1/jobs/${seg(id)}/report.html`)} target="_blank" rel="noopener">Report (printable)</Button>
            <Button onClick={() => download(`${id}-report.json`, JSON.stringify(report, null, 2), "application/json")}>
              Download JSON
            </Button>
          </div>
          {isMigration && <Summary report={report} />}
          {report.warnings?.map((w) => <Alert key={w} type="warning" showIcon title={w} />)}
          {isMigration && <Verification report={report} />}
          {(!isMigration || (report.findings ?? []).length > 0) && (
            <>
              <h2>{isMigration ? "Findings of the preflight" : "Findings"}</h2>
              <Findings list={report.findings ?? []} />
            </>
          )}
          {!report.job.finished_at && !isMigration && <Nothing>It has not ended yet</Nothing>}
        </div>
      )}
    </Loaded>
  );
}
