import { Button, Card, Grid, Input, Select, Switch, Table, type TableColumnType } from "antd";
import type { Query } from "../api/client";
import { useJobs, useWaves } from "../api/hooks";
import type { Job } from "../api/types";
import { ActionMenu } from "../components/actions";
import { kindName, ProgressCell, situation, StateTag, TimeLeft } from "../components/job-bits";
import { ErrorBox, Loaded, Nothing, PageHead } from "../components/states";
import * as f from "../lib/format";
import { href, replaceQuery, useRoute } from "../lib/router";

const SIZE = 50;

/** Cells that are drawn anew when their job has changed: with fifty that move, not the whole table each time. */
const drawnWhenChanged = <T extends object>(columns: TableColumnType<T>[]) =>
  columns.map((column) => ({ ...column, shouldCellUpdate: (now: T, before: T) => now !== before }));

export default function Jobs() {
  const { query: q } = useRoute();
  const wide = Grid.useBreakpoint().md ?? true;
  const page = Math.max(1, Number(q.get("page") ?? 1) || 1);
  const history = q.get("history") === "1";
  const query: Query = {
    state: q.get("state"), wave: q.get("wave"), q: q.get("q"), sort: q.get("sort") ?? "created", order: q.get("order") ?? "desc",
    latest_per_vm: !history, limit: SIZE, offset: (page - 1) * SIZE,
  };
  const jobs = useJobs(query);
  const waves = useWaves();
  const set = (change: Record<string, string | undefined>) => replaceQuery({ page: undefined, ...change });
  const items = jobs.data?.items ?? [];
  const link = (j: Job) => <a href={href(`/jobs/${j.id}`)}>{j.vm_name}</a>;
  const filtered = ["state", "wave", "q"].some((k) => q.get(k));

  return (
    <div className="page">
      <PageHead title="Progress" sub={jobs.data ? f.plural(jobs.data.total, "job") : undefined}>
        <Button type="primary" href="#/vms">New migration</Button>
      </PageHead>
      <div className="row">
        <Input.Search aria-label="Search jobs" placeholder="VM name or moref" allowClear defaultValue={q.get("q") ?? ""} onSearch={(v) => set({ q: v })} style={{ width: 220 }} />
        <Select aria-label="State" allowClear placeholder="All states" style={{ width: 150 }} value={q.get("state") ?? undefined} onChange={(v?: string) => set({ state: v })}
          options={["active", "queued", "running", "waiting", "failed", "stopped", "completed", "cancelled"].map((v) => ({ value: v, label: v }))} />
        <Select aria-label="Wave" allowClear placeholder="All waves" style={{ width: 150 }} value={q.get("wave") ?? undefined} onChange={(v?: string) => set({ wave: v })}
          options={(waves.data ?? []).map((w) => ({ value: w.name, label: w.name }))} />
        <label className="row-tight">
          <Switch size="small" checked={history} onChange={(v) => set({ history: v ? "1" : undefined })} /> History
        </label>
      </div>
      {jobs.data && jobs.error && <ErrorBox error={jobs.error} title="The list could not be read again" />}
      <Loaded query={jobs}>
        {items.length === 0 ? (
          <Card><Nothing action={<Button href={filtered ? "#/jobs" : "#/vms"}>{filtered ? "Clear the filters" : "Choose virtual machines"}</Button>}>{filtered ? "No job is like that" : "Nothing has been migrated yet"}</Nothing></Card>
        ) : wide ? (
          <Table<Job>
            className="tall-table"
            size="small"
            rowKey="id"
            dataSource={items}
            scroll={{ x: 1080 }}
            pagination={{ current: page, pageSize: SIZE, total: jobs.data?.total ?? 0, showSizeChanger: false, hideOnSinglePage: true }}
            onChange={(p, _f, s) => {
              const one = Array.isArray(s) ? s[0] : s;
              replaceQuery({ page: String(p.current ?? 1), sort: one?.order ? String(one.columnKey) : undefined, order: one?.order === "ascend" ? "asc" : undefined });
            }}
            columns={drawnWhenChanged<Job>([
              { key: "vm", title: "VM", sorter: true, fixed: "left", width: 170, render: (_, j) => <>{link(j)}{j.kind !== "migrate" && <div className="muted">{kindName(j.kind)}</div>}</> },
              { key: "state", title: "State", sorter: true, width: 110, render: (_, j) => <StateTag job={j} /> },
              { key: "stage", title: "Stage", width: 180, ellipsis: true, render: (_, j) => situation(j) },
              { key: "progress", title: "Progress", width: 180, render: (_, j) => <ProgressCell job={j} /> },
              { key: "eta", title: "Left", width: 90, className: "num", render: (_, j) => <TimeLeft job={j} /> },
              { key: "delta", title: "Last delta", width: 100, className: "num", render: (_, j) => f.bytes(j.last_delta_bytes) },
              { key: "down", title: "Downtime", width: 100, className: "num", render: (_, j) => f.milliseconds(j.predicted_downtime_ms) },
              { key: "wave", title: "Wave", width: 90, render: (_, j) => j.wave ?? "–" },
              { key: "created", title: "Created", sorter: true, width: 100, className: "num", render: (_, j) => f.time(j.created_at) },
              { key: "actions", title: <span className="muted">Actions</span>, width: 96, fixed: "right", render: (_, j) => <ActionMenu job={j} /> },
            ])}
          />
        ) : (
          <ul className="job-cards">
            {items.map((j) => (
              <li key={j.id} className="job-card">
                <div className="row-tight"><strong className="grow">{link(j)}</strong><StateTag job={j} /><ActionMenu job={j} /></div>
                <div className="muted" style={{ margin: "4px 0" }}>{situation(j)}</div>
                <ProgressCell job={j} />
              </li>
            ))}
          </ul>
        )}
      </Loaded>
    </div>
  );
}
