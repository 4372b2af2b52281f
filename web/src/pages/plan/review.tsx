// What will be run, to be read by a person before it is: a table, and the YAML.
import { Alert, App, Button, Card, Checkbox, Tag } from "antd";
import { ScrollTable } from "../../components/scroll-table";
import { useState } from "react";
import { createJobs, renderSpecs, useChange } from "../../api/hooks";
import { ErrorBox } from "../../components/states";
import * as f from "../../lib/format";
import { download } from "../../lib/local";
import { emptyPlan, specOf } from "../../lib/plan";
import { changePlan, usePlan } from "../../lib/plan-store";
import type { ReviewRow } from "../../lib/review";
import { go } from "../../lib/router";
import { useSession } from "../../session";

const open = <span className="missing">not chosen</span>;

function ReviewTable({ rows }: { rows: ReviewRow[] }) {
  const plan = usePlan();
  return (
    <ScrollTable<ReviewRow>
      size="small" rowKey="moref" className="review" dataSource={rows} tableLayout="fixed" scroll={{ x: 940 }} label="Review"
      pagination={{ pageSize: 20, hideOnSinglePage: true, showSizeChanger: false }}
      columns={[
        { title: "VM", width: 100, render: (_, r) => <><strong>{r.name}</strong><div className="muted mono">{r.moref}</div></> },
        {
          title: "Goes to", width: 160,
          render: (_, r) => (
            <>
              {r.zone ?? open} / {r.cluster ?? open}
              <div>{r.offering ?? open}</div>
              <div className="muted">{[r.osType ?? "no OS type", r.boot].filter(Boolean).join(", ")}</div>
            </>
          ),
        },
        {
          title: "Disks", width: 200,
          render: (_, r) => r.disks.map((d) => (
            <div key={d.key}>
              {d.label} <span className="muted num">{f.bytes(d.bytes)}</span> → {d.pool ?? open}
              {d.offering && <span className="muted"> ({d.offering})</span>} {d.own && <Tag>own</Tag>}
            </div>
          )),
        },
        {
          title: "Networks", width: 185,
          render: (_, r) => r.nics.map((n) => (
            <div key={n.key}>
              {n.from} → {n.to ?? open} {n.own && <Tag>own</Tag>}
              <div className="muted mono">{n.mac}{n.ip ? `, ${n.ip}` : ""}</div>
            </div>
          )),
        },
        {
          title: "Strategy", width: 145,
          render: (_, r) => (
            <>
              {r.strategy.length ? r.strategy.map((w) => <div key={w}>{w}</div>) : <span className="muted">as configured</span>}
              {plan.wave.trim() && <div className="muted">wave {plan.wave.trim()}</div>}
            </>
          ),
        },
        {
          title: "To note", width: 160,
          render: (_, r) => (
            <>
              {r.problems.map((p) => <div key={p} className="missing">{p}</div>)}
              {r.warnings.map((w) => <div key={w} className="warn">{w}</div>)}
              {r.problems.length + r.warnings.length === 0 && <Tag color="success">ready</Tag>}
            </>
          ),
        },
      ]}
    />
  );
}

export function Review({ rows }: { rows: ReviewRow[] }) {
  const plan = usePlan();
  const { can } = useSession();
  const { message } = App.useApp();
  const [yaml, setYaml] = useState<{ text: string; problems: string[]; of: unknown } | null>(null);
  const [sure, setSure] = useState<unknown>(null);
  const count = plan.drafts.length;
  const blocked = rows.some((r) => r.problems.length > 0) || !plan.cloudstack;
  // What was read and agreed to is this plan, not what it has become since.
  const agreed = sure === plan;
  const shown = yaml?.of === plan ? yaml : null;
  const specs = () => plan.drafts.map((d) => specOf(plan, d));
  const render = useChange(async () => {
    const r = await renderSpecs({ vms: specs() });
    setYaml({ text: r.yaml, problems: r.problems, of: plan });
    return r;
  });
  const begin = useChange(async (kind: "check" | "migrate") => {
    const jobs = await createJobs({
      kind, vms: specs(), vcenter: plan.vcenter ?? undefined, cloudstack: plan.cloudstack ?? undefined,
      priority: plan.priority, wave: plan.wave.trim() || undefined,
      not_before: kind === "migrate" ? (plan.notBefore ?? undefined) : undefined,
    });
    if (kind === "migrate") {
      changePlan(() => ({ ...emptyPlan(), vcenter: plan.vcenter, cloudstack: plan.cloudstack, networkMap: plan.networkMap }));
      void message.success(`${f.plural(jobs.length, "migration")} begun`);
      go("/jobs");
    } else if (jobs[0]) go(`/jobs/${jobs[0].id}`);
    return jobs;
  }, "jobs", "overview", "vms", "waves");
  return (
    <Card size="small" title="Review and start">
      <ReviewTable rows={rows} />
      <div className="row" style={{ marginTop: 12 }}>
        <Button onClick={() => render.mutate(undefined)} loading={render.isPending}>Show the YAML</Button>
        {shown && <Button onClick={() => download("plan.yaml", shown.text, "application/yaml")}>Download</Button>}
        {can("operator") && (
          <Button disabled={blocked} loading={begin.isPending} onClick={() => begin.mutate("check")}>Preflight check</Button>
        )}
        <span className="grow" />
        {can("operator") && (
          <Checkbox checked={agreed} onChange={(e) => setSure(e.target.checked ? plan : null)}>
            I have reviewed {f.plural(count, "VM")}
          </Checkbox>
        )}
        {can("operator") && (
          <Button type="primary" disabled={blocked || !agreed || Boolean(shown?.problems.length)} loading={begin.isPending}
            onClick={() => begin.mutate("migrate")}>Start {f.plural(count, "migration")}</Button>
        )}
      </div>
      {!can("operator") && <p className="muted">A viewer cannot start migrations.</p>}
      {(begin.error ?? render.error) && <ErrorBox error={begin.error ?? render.error} />}
      {shown?.problems.map((p) => <Alert key={p} type="error" title={p} style={{ marginTop: 8 }} />)}
      {shown && <pre className="text" tabIndex={0} aria-label="YAML" style={{ marginTop: 12, maxHeight: 420 }}>{shown.text}</pre>}
    </Card>
  );
}
