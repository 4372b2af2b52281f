// How a job goes: charts of throughput and deltas, its disks, its rounds.
import { Card, Tag } from "antd";
import { ScrollTable } from "../../components/scroll-table";
import { useMemo } from "react";
import type { JobDetail, JobDisk } from "../../api/types";
import { Chart } from "../../components/chart";
import { Bar } from "../../components/job-bits";
import { Nothing } from "../../components/states";
import * as f from "../../lib/format";
import { samplesOf } from "../../lib/samples";

type Round = NonNullable<JobDetail["rounds"]>[number];

function Charts({ job }: { job: JobDetail }) {
  const points = useMemo(() => {
    const told = (job.throughput ?? []).map((p) => ({ at: Date.parse(p.at), value: p.bytes_per_s }));
    return told.length > 1 ? told : [...samplesOf(job.id)];
  }, [job]);
  const x = useMemo(() => points.map((p) => p.at / 1000), [points]);
  const y = useMemo(() => points.map((p) => p.value), [points]);
  const { rounds } = job;
  const rx = useMemo(() => (rounds ?? []).map((r) => r.number), [rounds]);
  const ry = useMemo(() => (rounds ?? []).map((r) => r.changed_bytes), [rounds]);
  return (
    <div className="two">
      <Card title="Throughput" size="small">
        {x.length > 1 ? (
          <Chart label={`Throughput, at last ${f.rate(y[y.length - 1])}`} x={x} y={y} unit="rate" time />
        ) : (
          <Nothing>Nothing was copied while this page was open</Nothing>
        )}
      </Card>
      <Card title="Size of the deltas" size="small">
        {rx.length > 0 ? (
          <Chart label={`Sizes of ${rx.length} deltas, the last ${f.bytes(ry[ry.length - 1])}`}
            x={rx} y={ry} unit="bytes" time={false} bars />
        ) : (
          <Nothing>No delta has been made yet</Nothing>
        )}
      </Card>
    </div>
  );
}

function Disks({ job }: { job: JobDetail }) {
  return (
    <ScrollTable<JobDisk> size="small" rowKey="key" pagination={false} scroll={{ x: 760 }} dataSource={job.disks ?? []}
      locale={{ emptyText: "Its disks are not known yet" }} label="Disks" columns={[
        { title: "Disk", render: (_, d) => <>{d.name} {d.boot && <Tag>boot</Tag>}<div className="muted mono">{d.address}</div></> },
        { title: "Size", className: "num", render: (_, d) => f.bytes(d.bytes) },
        { title: "Stage", render: (_, d) => f.stage(d.stage) },
        {
          title: "Progress", width: 160,
          render: (_, d) => (
            <><Bar value={d.progress} label={`Progress of ${d.name}`} /><span className="num muted">{f.percent(d.progress)}</span></>
          ),
        },
        { title: "Read", className: "num", render: (_, d) => `${f.bytes(d.read_bytes)} of ${f.bytes(d.planned_bytes)}` },
        { title: "Rate", className: "num", render: (_, d) => f.rate(d.rate_bytes_per_s) },
        { title: "Left", className: "num", render: (_, d) => f.duration(d.eta_s) },
        { title: "Deltas", className: "num", render: (_, d) => d.delta_rounds ?? 0 },
      ]} />
  );
}

/** The newest first: that is the one that tells how long a cutover would take. */
function Rounds({ rounds }: { rounds: Round[] }) {
  return (
    <ScrollTable<Round> size="small" rowKey="number" scroll={{ x: 480 }} dataSource={[...rounds].reverse()} label="Delta rounds"
      pagination={{ pageSize: 10, hideOnSinglePage: true, showSizeChanger: false }} columns={[
        { title: "Round", className: "num", render: (_, r) => r.number },
        { title: "Began", className: "num", render: (_, r) => f.time(r.began_at) },
        { title: "Changed", className: "num", render: (_, r) => f.bytes(r.changed_bytes) },
        { title: "Copying", className: "num", render: (_, r) => f.milliseconds(r.copy_ms) },
        { title: "In all", className: "num", render: (_, r) => f.milliseconds(r.total_ms) },
      ]} />
  );
}

export function Watch({ job }: { job: JobDetail }) {
  return (
    <div className="page">
      <Charts job={job} />
      <Disks job={job} />
      {(job.rounds ?? []).length > 0 && <Rounds rounds={job.rounds!} />}
    </div>
  );
}
