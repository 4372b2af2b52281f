// The plan: which VMs go where, how and when. It is kept in this browser until it is started.
import { Alert, Button, Card, Popconfirm, Select, Table, Tag } from "antd";
import { useMemo, useState } from "react";
import { useEnvironments, useResources, useVms } from "../../api/hooks";
import type { ResourceKind } from "../../api/types";
import { ErrorBox, Loaded, Nothing, PageHead } from "../../components/states";
import type { Resources } from "../../lib/csv";
import * as f from "../../lib/format";
import { type Draft, problems, removeVms, totalBytes, unknownIds } from "../../lib/plan";
import { changePlan, usePlan } from "../../lib/plan-store";
import { EMPTY, knownOf } from "../../lib/resources";
import { reviewRow, type ReviewRow } from "../../lib/review";
import { Editor } from "./editor";
import { Faults, Import } from "./import";
import { Review } from "./review";
import { Schedule } from "./schedule";

/** All lists of the CloudStack; the first error, if one could not be read. */
function useAllResources(cloudstack: string | null): { resources: Resources; error: unknown; retry: () => void } {
  const kinds = Object.keys(EMPTY) as ResourceKind[];
  // The kinds never change, and so neither does the number of hooks.
  const queries = kinds.map((kind) => useResources(cloudstack, kind));
  const lists = queries.map((q) => q.data);
  const resources = useMemo(
    () => Object.fromEntries(kinds.map((kind, i) => [kind, lists[i] ?? []])) as unknown as Resources,
    lists,
  );
  const failed = queries.filter((q) => q.error && !q.data);
  return { resources, error: failed[0]?.error ?? null, retry: () => failed.forEach((q) => void q.refetch()) };
}

function State({ row }: { row: ReviewRow }) {
  if (row.problems.length > 0)
    return <><Tag color="error">{f.plural(row.problems.length, "problem")}</Tag><span className="muted">{row.problems[0]}</span></>;
  return <><Tag color="success">ready</Tag>{row.warnings[0] && <span className="warn">{row.warnings[0]}</span>}</>;
}

interface ListProps {
  drafts: Draft[];
  rows: Map<string, ReviewRow>;
  selected: string[];
  onSelect: (morefs: string[]) => void;
}

function Drafts({ drafts, rows, selected, onSelect }: ListProps) {
  const missing = <span className="muted">not chosen</span>;
  return (
    <Table<Draft>
      size="small" rowKey="moref" virtual pagination={false} scroll={{ x: 540, y: 440 }} dataSource={drafts}
      rowSelection={{
        selectedRowKeys: selected, onChange: (k) => onSelect(k.map(String)), columnWidth: 38,
        getCheckboxProps: (d) => ({ "aria-label": `Edit ${d.name}` }) as object,
        getTitleCheckboxProps: () => ({ "aria-label": "Edit all" }) as object,
      }}
      columns={[
        {
          title: "VM", width: 128,
          render: (_, d) => (
            <>
              <button type="button" className="link clamp" title={d.name} onClick={() => onSelect([d.moref])}>{d.name}</button>
              <div className="muted num">{d.cpu} CPU, {f.bytes(totalBytes(d))}</div>
            </>
          ),
        },
        {
          title: "Goes to", width: 122,
          render: (_, d) => <>{rows.get(d.moref)?.zone ?? missing}<div>{rows.get(d.moref)?.offering ?? missing}</div></>,
        },
        { title: "Networks", width: 96, render: (_, d) => rows.get(d.moref)?.nics.map((n) => <div key={n.key}>{n.to ?? missing}</div>) },
        { title: "State", width: 160, render: (_, d) => <State row={rows.get(d.moref)!} /> },
      ]}
    />
  );
}

export default function PlanPage() {
  const plan = usePlan();
  const { drafts, cloudstack } = plan;
  const envs = useEnvironments();
  const [selected, setSelected] = useState<string[]>([]);
  const [faults, setFaults] = useState<string[]>([]);
  const { resources, error, retry } = useAllResources(cloudstack);
  const rows = useMemo(() => {
    const known = knownOf(resources);
    return drafts.map((d) => reviewRow(plan, d, resources, [...problems(plan, d), ...unknownIds(plan, d, known)]));
  }, [plan, drafts, resources]);
  const byMoref = useMemo(() => new Map(rows.map((r) => [r.moref, r])), [rows]);
  const open = rows.filter((r) => r.problems.length > 0).length;
  const ready = open === 0 ? "all ready" : `${open} not ready`;
  const edited = drafts.filter((d) => selected.includes(d.moref));
  const of = (kind: string) => (envs.data ?? []).filter((e) => e.kind === kind).map((e) => ({ value: e.id, label: e.name }));
  const vcenter = plan.vcenter ?? of("vcenter")[0]?.value ?? null;
  const vms = useVms(vcenter);
  return (
    <div className="page">
      <PageHead title="Plan" sub={drafts.length ? `${f.plural(drafts.length, "VM")}, ${ready}` : undefined}>
        <Import vcenter={vcenter} vms={vms.data} resources={resources} onFaults={setFaults} />
        <Button href="#/vms">Add VMs</Button>
        {drafts.length > 0 && (
          <Popconfirm title="Empty the plan?" okText="Empty it" cancelText="Back"
            onConfirm={() => changePlan((p) => ({ ...p, drafts: [] }))}>
            <Button>Empty it</Button>
          </Popconfirm>
        )}
      </PageHead>
      <div className="row">
        <Select aria-label="vCenter" placeholder="vCenter" style={{ width: 190 }} value={plan.vcenter} options={of("vcenter")}
          disabled={drafts.length > 0} onChange={(v) => changePlan((p) => ({ ...p, vcenter: v }))} />
        <Select aria-label="CloudStack" placeholder="CloudStack" style={{ width: 190 }} value={cloudstack} options={of("cloudstack")}
          onChange={(v) => changePlan((p) => ({ ...p, cloudstack: v }))} />
      </div>
      <Faults list={faults} onClose={() => setFaults([])} />
      {error ? <ErrorBox error={error} title="The CloudStack could not be read" retry={retry} /> : null}
      <Loaded query={envs}>
        {drafts.length === 0 ? (
          <Card>
            <Nothing action={<Button type="primary" href="#/vms">Choose virtual machines</Button>}>No VM is planned</Nothing>
          </Card>
        ) : (
          <>
            {!cloudstack && <Alert type="info" showIcon title="Choose the CloudStack they go to" />}
            <div className="plan">
              <div className="stack">
                <Drafts drafts={drafts} rows={byMoref} selected={selected} onSelect={setSelected} />
                {edited.length > 0 && (
                  <div>
                    <Button size="small" onClick={() => { changePlan((p) => removeVms(p, new Set(selected))); setSelected([]); }}>
                      Take {f.plural(edited.length, "VM")} out of the plan
                    </Button>
                  </div>
                )}
              </div>
              {edited.length > 0 && cloudstack ? (
                <Editor drafts={edited} resources={resources} />
              ) : (
                <Card><Nothing>Select VMs to choose where they go</Nothing></Card>
              )}
            </div>
            <Schedule />
            <Review rows={rows} />
          </>
        )}
      </Loaded>
    </div>
  );
}
