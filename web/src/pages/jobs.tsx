// All jobs in one table: how far they are, and what can be done with one or many of them.
import { ColumnWidthOutlined } from "@ant-design/icons";
import { Button, Card, Checkbox, Dropdown, Grid, Input, Pagination, Select, Switch, Table, type TableColumnsType } from "antd";
import { useEffect, useMemo, useState } from "react";
import type { Query } from "../api/client";
import { listJobs, useJobs, useWaves } from "../api/hooks";
import type { Job } from "../api/types";
import { ActionMenu } from "../components/actions";
import { BulkBar } from "../components/bulk";
import { kindName, ProgressCell, situation, StateTag, TimeLeft } from "../components/job-bits";
import { ErrorBox, Loaded, Nothing, PageHead } from "../components/states";
import { useColumns } from "../lib/columns";
import * as f from "../lib/format";
import { href, replaceQuery, useRoute } from "../lib/router";
import { useSession } from "../session";

const SIZE = 50;
const MOST = 1000;
const STATES = ["active", "queued", "running", "waiting", "failed", "stopped", "completed", "cancelled"];
const OPTIONAL = { eta: "Left", delta: "Deltas", wave: "Wave", priority: "Priority", created: "Created" };

function Name({ job }: { job: Job }) {
  return (
    <>
      <a href={href(`/jobs/${job.id}`)} title={job.vm_name}>{job.vm_name}</a>
      {job.kind !== "migrate" && <div className="muted">{kindName(job.kind)}</div>}
    </>
  );
}

/** A cell is drawn anew when its job is another: what moves every two seconds draws itself. */
const hasChanged = (now: Job, before: Job) => now !== before;

function columnsOf(shown: string[]): TableColumnsType<Job> {
  const all: (TableColumnsType<Job>[number] & { key: string })[] = [
    { key: "vm", title: "VM", sorter: true, width: 138, ellipsis: true, render: (_, j) => <Name job={j} /> },
    {
      key: "state", title: "State", sorter: true, width: 172,
      render: (_, j) => (
        <>
          <StateTag job={j} />
          <div className="muted clamp" title={situation(j)}>{situation(j)}</div>
        </>
      ),
    },
    { key: "progress", title: "Progress", width: 168, render: (_, j) => <ProgressCell job={j} /> },
    { key: "eta", title: "Left", width: 92, className: "num", render: (_, j) => <TimeLeft job={j} /> },
    {
      key: "delta", title: "Deltas", width: 124, className: "num",
      render: (_, j) => !j.delta_rounds ? "–" : (
        <>
          {f.bytes(j.last_delta_bytes)}
          <div className="muted" title={j.predicted_downtime_ms ? "Predicted downtime of a cutover" : undefined}>
            {j.predicted_downtime_ms ? `down ${f.milliseconds(j.predicted_downtime_ms)}` : f.plural(j.delta_rounds, "round")}
          </div>
        </>
      ),
    },
    {
      key: "wave", title: "Wave", width: 96, ellipsis: true,
      render: (_, j) => j.wave ? <a href={href("/jobs", { wave: j.wave })} title={j.wave}>{j.wave}</a> : "–",
    },
    { key: "priority", title: "Priority", sorter: true, width: 84, className: "num", render: (_, j) => j.priority ?? 0 },
    {
      key: "created", title: "Created", sorter: true, width: 116, className: "num",
      render: (_, j) => <>{f.time(j.created_at)}<div className="muted clamp">{j.created_by}</div></>,
    },
    { key: "actions", title: <span className="hidden">Actions</span>, width: 46, fixed: "right", render: (_, j) => <ActionMenu job={j} /> },
  ];
  return all.filter((c) => !(c.key in OPTIONAL) || shown.includes(c.key)).map((c) => ({ ...c, shouldCellUpdate: hasChanged }));
}

/** The selection stays when the page is turned; what is shown of it is as new as it can be. */
function useSelection(items: Job[]): [Job[], (jobs: Job[]) => void] {
  const [selected, setSelected] = useState<Map<string, Job>>(new Map());
  useEffect(() => {
    setSelected((old) => {
      const fresh = items.filter((j) => old.has(j.id) && old.get(j.id) !== j);
      if (fresh.length === 0) return old;
      const next = new Map(old);
      for (const j of fresh) next.set(j.id, j);
      return next;
    });
  }, [items]);
  const list = useMemo(() => [...selected.values()], [selected]);
  return [list, (jobs) => setSelected(new Map(jobs.map((j) => [j.id, j])))];
}

function Filters({ set }: { set: (change: Record<string, string | undefined>) => void }) {
  const { query: q } = useRoute();
  const waves = useWaves();
  const [shown, setShown] = [q.get("history") === "1", (v: boolean) => set({ history: v ? "1" : undefined })];
  return (
    <>
      <Input.Search key={q.get("q") ?? ""} aria-label="Search jobs" placeholder="VM name or moref" allowClear
        defaultValue={q.get("q") ?? ""} onSearch={(v) => set({ q: v })} style={{ width: 220 }} />
      <Select aria-label="State" allowClear placeholder="All states" style={{ width: 140 }} value={q.get("state") ?? undefined}
        onChange={(v?: string) => set({ state: v })} options={STATES.map((v) => ({ value: v, label: v }))} />
      <Select aria-label="Wave" allowClear placeholder="All waves" style={{ width: 150 }} value={q.get("wave") ?? undefined}
        onChange={(v?: string) => set({ wave: v })} options={(waves.data ?? []).map((w) => ({ value: w.name, label: w.name }))} />
      <label className="row-tight">
        <Switch size="small" checked={shown} onChange={setShown} aria-label="History" /> History
      </label>
    </>
  );
}

function ColumnChooser({ shown, onChange }: { shown: string[]; onChange: (shown: string[]) => void }) {
  const [open, setOpen] = useState(false);
  const toggle = (key: string) => onChange(shown.includes(key) ? shown.filter((k) => k !== key) : [...shown, key]);
  return (
    <Dropdown
      autoFocus trigger={["click"]} open={open} onOpenChange={(next, info) => (next || info.source === "trigger") && setOpen(next)}
      menu={{
        items: Object.entries(OPTIONAL).map(([key, label]) => ({
          key, label: <Checkbox checked={shown.includes(key)} tabIndex={-1}>{label}</Checkbox>,
        })),
        onClick: ({ key, domEvent }) => {
          domEvent.preventDefault();
          toggle(key);
        },
      }}
    >
      <Button icon={<ColumnWidthOutlined />} aria-label="Columns">Columns</Button>
    </Dropdown>
  );
}

function Cards({ items }: { items: Job[] }) {
  return (
    <ul className="job-cards">
      {items.map((j) => (
        <li key={j.id} className="job-card">
          <div className="row-tight">
            <strong className="grow clamp"><a href={href(`/jobs/${j.id}`)}>{j.vm_name}</a></strong>
            <StateTag job={j} />
            <ActionMenu job={j} />
          </div>
          <div className="muted" style={{ margin: "4px 0" }}>{situation(j)}</div>
          <ProgressCell job={j} />
        </li>
      ))}
    </ul>
  );
}

export default function Jobs() {
  const { query: q } = useRoute();
  const { can } = useSession();
  const wide = Grid.useBreakpoint().md ?? true;
  const page = Math.max(1, Number(q.get("page") ?? 1) || 1);
  const query: Query = {
    state: q.get("state"), wave: q.get("wave"), q: q.get("q"), sort: q.get("sort") ?? "created", order: q.get("order") ?? "desc",
    latest_per_vm: q.get("history") !== "1",
  };
  const jobs = useJobs({ ...query, limit: SIZE, offset: (page - 1) * SIZE });
  const items = useMemo(() => jobs.data?.items ?? [], [jobs.data]);
  const total = jobs.data?.total ?? 0;
  const [selected, setSelected] = useSelection(items);
  const [columns, setColumns] = useColumns("jobs", Object.keys(OPTIONAL), ["priority"]);
  const [error, setError] = useState<unknown>(null);
  const set = (change: Record<string, string | undefined>) => replaceQuery({ page: undefined, ...change });
  const filtered = ["state", "wave", "q"].some((k) => q.get(k));
  const here = new Set(items.map((j) => j.id));
  const selectAll = () =>
    listJobs({ ...query, limit: MOST }).then((p) => setSelected(p.items), setError);
  const empty = (
    <Card>
      <Nothing action={<Button href={filtered ? "#/jobs" : "#/vms"}>{filtered ? "Clear the filters" : "Choose virtual machines"}</Button>}>
        {filtered ? "No job is like that" : "Nothing has been migrated yet"}
      </Nothing>
    </Card>
  );
  const sorter = q.get("sort") ?? "created";
  const shown = useMemo(() => columnsOf(columns).map((c) => c.key === sorter
    ? { ...c, sortOrder: q.get("order") === "asc" ? ("ascend" as const) : ("descend" as const) } : c), [columns, sorter, q]);
  return (
    <div className="page">
      <PageHead title="Progress" sub={jobs.data ? f.plural(total, "job") : undefined}>
        {can("operator") && <Button type="primary" href="#/vms">New migration</Button>}
      </PageHead>
      <div className="row">
        <Filters set={set} />
        <span className="grow" />
        {wide && can("operator") && total > items.length && total <= MOST && (
          <Button onClick={() => void selectAll()}>Select all {total.toLocaleString("en")}</Button>
        )}
        {wide && <ColumnChooser shown={columns} onChange={setColumns} />}
      </div>
      {error ? <ErrorBox error={error} title="They could not be selected" /> : null}
      <Loaded query={jobs}>
        {items.length === 0 ? empty : wide ? (
          <Table<Job>
            className="tall-table" size="small" rowKey="id" dataSource={items} tableLayout="fixed" scroll={{ x: 640 + columns.length * 90 }}
            pagination={{ current: page, pageSize: SIZE, total, showSizeChanger: false, hideOnSinglePage: true }}
            rowSelection={can("operator") ? {
              selectedRowKeys: selected.map((j) => j.id), columnWidth: 38, preserveSelectedRowKeys: true,
              onChange: (keys, rows) => {
                const known = new Map([...selected, ...items, ...rows.filter(Boolean)].map((j) => [j.id, j]));
                setSelected(keys.map((k) => known.get(String(k))).filter((j): j is Job => j !== undefined));
              },
              getCheckboxProps: (j) => ({ "aria-label": `Select ${j.vm_name}` }) as object,
              getTitleCheckboxProps: () => ({ "aria-label": "Select all on this page" }) as object,
            } : undefined}
            onChange={(p, _f, s) => {
              const one = Array.isArray(s) ? s[0] : s;
              replaceQuery({
                page: String(p.current ?? 1), sort: one?.order ? String(one.columnKey) : undefined,
                order: one?.order === "ascend" ? "asc" : undefined,
              });
            }}
            columns={shown}
          />
        ) : (
          <>
            <Cards items={items} />
            <Pagination simple align="center" current={page} pageSize={SIZE} total={total} hideOnSinglePage
              onChange={(p) => replaceQuery({ page: String(p) })} />
          </>
        )}
      </Loaded>
      <BulkBar jobs={selected} elsewhere={selected.filter((j) => !here.has(j.id)).length} onSelect={setSelected} />
    </div>
  );
}
