// Waves: groups of jobs that begin together. How far each is, what it waits for, and what may be changed.
import { Button, Card, Drawer, Form, Grid, Input, InputNumber, Popconfirm, Table, Tag } from "antd";
import { useRef, useState } from "react";
import { deleteWave, putWave, useChange, useJobs, useWaves } from "../api/hooks";
import type { Job, Wave, WaveInput } from "../api/types";
import { ActionMenu } from "../components/actions";
import { DateTime } from "../components/date-time";
import { ProgressCell, situation, StateTag } from "../components/job-bits";
import { ErrorBox, Loaded, Nothing, PageHead } from "../components/states";
import * as f from "../lib/format";
import { href, replaceQuery, useRoute } from "../lib/router";
import { blockedBy, partsOf, progressText, totalOf, unfinishedOf, waveProblems, windowText } from "../lib/waves";
import { useSession } from "../session";

export function WaveBar({ wave }: { wave: Wave }) {
  const total = totalOf(wave);
  const parts = partsOf(wave);
  const text = parts.map((p) => `${p.count} ${p.name}`).join(", ");
  return (
    <div>
      <div className="parts" role="img" aria-label={text || "no jobs"}>
        {parts.map((p) => <span key={p.name} className={p.kind} style={{ width: `${(100 * p.count) / total}%` }} />)}
      </div>
      <div className="muted">{total === 0 ? progressText(wave) : text}</div>
    </div>
  );
}

interface EditorProps {
  wave: Wave | null;
  all: Wave[];
  open: boolean;
  onClose: () => void;
}

function Editor({ wave, all, open, onClose }: EditorProps) {
  const [name, setName] = useState(wave?.name ?? "");
  const [input, setInput] = useState<WaveInput>({
    not_before: wave?.not_before ?? null, not_after: wave?.not_after ?? null, concurrency: wave?.concurrency ?? 0,
    position: wave?.position ?? 0,
  });
  const [tried, setTried] = useState(false);
  const save = useChange(() => putWave(name.trim(), input), "waves", "jobs");
  const problems = waveProblems(name, input, all.filter((w) => w.name !== wave?.name));
  const submit = () => {
    setTried(true);
    if (problems.length === 0) save.mutate(undefined, { onSuccess: onClose });
  };
  const set = (change: Partial<WaveInput>) => setInput({ ...input, ...change });
  return (
    <Drawer open={open} onClose={onClose} size={420} title={wave ? `Wave ${wave.name}` : "New wave"} destroyOnHidden
      footer={
        <div className="row">
          <Button type="primary" onClick={submit} loading={save.isPending}>{wave ? "Save" : "Make it"}</Button>
          <Button onClick={onClose}>Back</Button>
        </div>
      }>
      <Form layout="vertical" className="stack">
        <div className="field">
          <label htmlFor="wave-name">Name</label>
          <Input id="wave-name" value={name} maxLength={64} disabled={wave !== null} autoFocus={wave === null}
            onChange={(e) => setName(e.target.value)} />
          {wave && <div className="help muted">A wave keeps its name.</div>}
        </div>
        <div className="field">
          <label htmlFor="wave-position">Order</label>
          <InputNumber id="wave-position" style={{ width: "100%" }} min={0} max={1000} precision={0} value={input.position ?? 0}
            onChange={(v) => set({ position: v ?? 0 })} />
          <div className="help muted">It begins when those of a lower number have come to their deltas or to an end.</div>
        </div>
        <DateTime label="Begins not before" value={input.not_before} placeholder="at any time"
          onChange={(v) => set({ not_before: v ?? null })} />
        <DateTime label="No job begins after" value={input.not_after} placeholder="no end"
          onChange={(v) => set({ not_after: v ?? null })} />
        <div className="field">
          <label htmlFor="wave-concurrency">Jobs at once</label>
          <InputNumber id="wave-concurrency" style={{ width: "100%" }} min={0} max={200} precision={0} value={input.concurrency ?? 0}
            onChange={(v) => set({ concurrency: v ?? 0 })} />
          <div className="help muted">0: only the limits of the service hold.</div>
        </div>
        {tried && problems.length > 0 && <ErrorBox error={new Error(problems.join("; "))} />}
        {save.error && <ErrorBox error={save.error} />}
      </Form>
    </Drawer>
  );
}

function WaveJobs({ wave }: { wave: Wave }) {
  const jobs = useJobs({ wave: wave.name, latest_per_vm: true, sort: "vm", order: "asc", limit: 100 });
  const more = (jobs.data?.total ?? 0) - (jobs.data?.items.length ?? 0);
  return (
    <Loaded query={jobs} rows={3}>
      {jobs.data?.items.length === 0 ? <Nothing>It has no jobs: choose it in the plan</Nothing> : (
        <Table<Job> size="small" rowKey="id" pagination={false} scroll={{ x: 560, y: 360 }} dataSource={jobs.data?.items ?? []} columns={[
          { title: "VM", width: 150, render: (_, j) => <a href={href(`/jobs/${j.id}`)}>{j.vm_name}</a> },
          { title: "State", width: 110, render: (_, j) => <StateTag job={j} /> },
          { title: "Stage", ellipsis: true, render: (_, j) => situation(j) },
          { title: "Progress", width: 170, render: (_, j) => <ProgressCell job={j} /> },
          { title: <span className="hidden">Actions</span>, width: 48, render: (_, j) => <ActionMenu job={j} /> },
        ]} />
      )}
      {more > 0 && <a href={href("/jobs", { wave: wave.name })}>And {f.plural(more, "more job")}</a>}
    </Loaded>
  );
}

function Begin({ wave, all }: { wave: Wave; all: Wave[] }) {
  const first = blockedBy(wave, all);
  const over = wave.not_after && Date.parse(wave.not_after) < Date.now();
  return (
    <>
      {windowText(wave)} {over && <Tag color="warning">over</Tag>}
      {first.length > 0 && <div className="muted">after {first.join(", ")}</div>}
    </>
  );
}

function JobsLink({ wave }: { wave: Wave }) {
  return <a href={href("/jobs", { wave: wave.name })}>Progress<span className="hidden"> of {wave.name}</span></a>;
}

export default function Waves() {
  const { can } = useSession();
  const { query } = useRoute();
  const wide = Grid.useBreakpoint().md ?? true;
  const waves = useWaves();
  const [edited, setEdited] = useState<{ wave: Wave | null; times: number }>({ wave: null, times: 0 });
  const [open, setOpen] = useState(false);
  const back = useRef<HTMLElement | null>(null);
  const remove = useChange(deleteWave, "waves");
  const all = [...(waves.data ?? [])].sort((a, b) => (a.position ?? 0) - (b.position ?? 0) || a.name.localeCompare(b.name));
  const edit = (wave: Wave | null) => {
    back.current = document.activeElement as HTMLElement | null;
    setEdited((e) => ({ wave, times: e.times + 1 }));
    setOpen(true);
  };
  const shown = query.get("wave");
  const actions = (w: Wave) => (
    <div className="row-tight">
      <Button size="small" onClick={() => edit(w)} aria-label={`Change ${w.name}`}>Change</Button>
      <Popconfirm title={`Delete the wave ${w.name}?`} description="Jobs that have ended stay in the list." okText="Delete"
        cancelText="Back" onConfirm={() => remove.mutate(w.name)} disabled={unfinishedOf(w) > 0}>
        <Button size="small" danger disabled={unfinishedOf(w) > 0} aria-label={`Delete ${w.name}`}
          title={unfinishedOf(w) > 0 ? "It has unfinished jobs" : undefined}>Delete</Button>
      </Popconfirm>
    </div>
  );
  return (
    <div className="page">
      <PageHead title="Waves" sub="Groups of migrations that begin together">
        {can("operator") && <Button type="primary" onClick={() => edit(null)}>New wave</Button>}
      </PageHead>
      {remove.error && <ErrorBox error={remove.error} />}
      <Loaded query={waves}>
        {all.length === 0 ? (
          <Card><Nothing>There are no waves. A plan can make one, too.</Nothing></Card>
        ) : !wide ? (
          <ul className="job-cards">
            {all.map((w) => (
              <li key={w.name} className="job-card stack">
                <div className="row-tight"><strong className="grow clamp">{w.name}</strong><span className="muted num">order {w.position ?? 0}</span></div>
                <WaveBar wave={w} />
                <div><Begin wave={w} all={all} /></div>
                <div className="row"><JobsLink wave={w} /><span className="grow" />{can("operator") && actions(w)}</div>
              </li>
            ))}
          </ul>
        ) : (
          <Table<Wave> size="small" rowKey="name" pagination={false} scroll={{ x: 900 }} dataSource={all} className="tall-table"
            expandable={{
              expandedRowKeys: shown ? [shown] : [], onExpand: (yes, w) => replaceQuery({ wave: yes ? w.name : undefined }),
              expandedRowRender: (w) => <WaveJobs wave={w} />,
            }}
            columns={[
              { title: "Order", width: 70, className: "num", render: (_, w) => w.position ?? 0 },
              { title: "Wave", width: 170, ellipsis: true, render: (_, w) => <strong title={w.name}>{w.name}</strong> },
              { title: "Jobs", width: 200, render: (_, w) => <WaveBar wave={w} /> },
              { title: "Begins", width: 190, render: (_, w) => <Begin wave={w} all={all} /> },
              { title: "At once", width: 84, className: "num", render: (_, w) => w.concurrency || "no limit" },
              { title: <span className="hidden">Jobs</span>, width: 86, render: (_, w) => <JobsLink wave={w} /> },
              ...(can("operator")
                ? [{ title: <span className="hidden">Actions</span>, width: 160, render: (_: unknown, w: Wave) => actions(w) }]
                : []),
            ]} />
        )}
      </Loaded>
      <Editor key={edited.times} wave={edited.wave} all={all} open={open} onClose={() => { setOpen(false); back.current?.focus(); }} />
    </div>
  );
}
