import { Button, Card, Checkbox, Grid, Input, Select, Table, Tag, Tooltip, Tree } from "antd";
import { useMemo, useState } from "react";
import { useEnvironments, useVms } from "../api/hooks";
import type { Vm } from "../api/types";
import { Loaded, Nothing, PageHead } from "../components/states";
import * as f from "../lib/format";
import { addVms } from "../lib/plan";
import { changePlan } from "../lib/plan-store";
import { go, href, replaceQuery, useRoute } from "../lib/router";
import { useSession } from "../session";

const size = (v: Vm) => v.disks.reduce((n, d) => n + d.bytes, 0);

export default function Vms() {
  const { can } = useSession();
  const { query: q } = useRoute();
  const screen = Grid.useBreakpoint();
  const envs = useEnvironments();
  const vcenters = (envs.data ?? []).filter((e) => e.kind === "vcenter");
  const env = q.get("env") ?? vcenters[0]?.id;
  const vms = useVms(env);
  const [text, setText] = useState("");
  const [power, setPower] = useState<string>();
  const [only, setOnly] = useState<string>();
  const [hideDone, setHideDone] = useState(false);
  const [place, setPlace] = useState("");
  const [selected, setSelected] = useState<string[]>([]);
  const all = useMemo(() => vms.data ?? [], [vms.data]);
  const shown = useMemo(() => all.filter((v) => {
    if (text && !`${v.name} ${v.moref} ${v.guest ?? ""} ${v.host ?? ""}`.toLowerCase().includes(text.toLowerCase())) return false;
    if (power && v.power !== power) return false;
    if (only === "clean" ? v.findings.some((x) => x.level !== "pass") : only && !v.findings.some((x) => x.level === only)) return false;
    if (hideDone && v.job?.state === "completed") return false;
    return !place || `${v.datacenter ?? ""}|${v.host ?? ""}|`.startsWith(place);
  }), [all, text, power, only, hideDone, place]);
  const tree = useMemo(() => {
    const dcs = new Map<string, Set<string>>();
    for (const v of all) dcs.set(v.datacenter ?? "", (dcs.get(v.datacenter ?? "") ?? new Set()).add(v.host ?? ""));
    return [...dcs].sort().map(([dc, hosts]) => ({ key: `${dc}|`, title: dc || "no datacenter", children: [...hosts].sort().map((h) => ({ key: `${dc}|${h}|`, title: h || "no host" })) }));
  }, [all]);
  const plan = () => {
    const wanted = new Set(selected);
    changePlan((p) => addVms(p, env!, all.filter((v) => wanted.has(v.moref))));
    go("/plan");
  };
  if (envs.data && vcenters.length === 0)
    return <div className="page"><PageHead title="Virtual machines" /><Card><Nothing action={<Button href="#/environments">Environments</Button>}>No vCenter is known yet</Nothing></Card></div>;
  return (
    <div className="page">
      <PageHead title="Virtual machines" sub={vms.data && `${f.plural(shown.length, "VM")} of ${all.length}`}>
        <Button onClick={() => void vms.refetch()} loading={vms.isFetching}>Read again</Button>
        {can("operator") && <Button type="primary" disabled={selected.length === 0} onClick={plan}>Plan {f.plural(selected.length, "VM")}</Button>}
      </PageHead>
      <div className="row">
        <Select aria-label="vCenter" value={env} style={{ width: 180 }} onChange={(v) => { setSelected([]); setPlace(""); replaceQuery({ env: v }); }} options={vcenters.map((e) => ({ value: e.id, label: e.name }))} />
        <Input.Search aria-label="Search VMs" placeholder="Name, guest, host" allowClear style={{ width: 220 }} onChange={(e) => setText(e.target.value)} />
        <Select aria-label="Power" allowClear placeholder="Any power" style={{ width: 130 }} value={power} onChange={setPower} options={["on", "off", "suspended"].map((v) => ({ value: v, label: v }))} />
        <Select aria-label="Findings" allowClear placeholder="Any findings" style={{ width: 160 }} value={only} onChange={setOnly} options={[{ value: "clean", label: "nothing against it" }, { value: "warning", label: "with warnings" }, { value: "failure", label: "with failures" }]} />
        <Checkbox checked={hideDone} onChange={(e) => setHideDone(e.target.checked)}>Hide migrated</Checkbox>
      </div>
      <Loaded query={vms}>
        <div style={screen.lg ? { display: "grid", gridTemplateColumns: "220px minmax(0,1fr)", gap: 16 } : undefined}>
          {screen.lg && <Card size="small" title="Inventory"><Tree treeData={tree} defaultExpandAll selectedKeys={[place]} onSelect={(k) => setPlace(String(k[0] ?? ""))} height={560} aria-label="Datacenters and hosts" /></Card>}
          <Table<Vm> size="small" rowKey="moref" virtual pagination={false} scroll={{ x: screen.md ? 980 : 520, y: 600 }} dataSource={shown}
            locale={{ emptyText: <Nothing>No VM is like that</Nothing> }}
            rowSelection={can("operator") ? { selectedRowKeys: selected, onChange: (k) => setSelected(k.map(String)), preserveSelectedRowKeys: true, columnWidth: 42, getCheckboxProps: (v) => ({ "aria-label": `Select ${v.name}` } as object), getTitleCheckboxProps: () => ({ "aria-label": "Select all" } as object) } : undefined}
            columns={[
              { title: "Name", width: 150, sorter: (a, b) => a.name.localeCompare(b.name), render: (_, v) => <strong>{v.name}</strong> },
              { title: "Power", width: 80, render: (_, v) => <Tag color={v.power === "on" ? "success" : "default"}>{v.power}</Tag> },
              { title: "Guest", width: 220, ellipsis: true, dataIndex: "guest" },
              { title: "CPU", width: 70, className: "num", sorter: (a, b) => a.cpu - b.cpu, dataIndex: "cpu" },
              { title: "Memory", width: 100, className: "num", sorter: (a, b) => a.memory_mib - b.memory_mib, render: (_, v) => f.bytes(v.memory_mib * 2 ** 20) },
              { title: "Disks", width: 110, className: "num", sorter: (a, b) => size(a) - size(b), render: (_, v) => `${v.disks.length} · ${f.bytes(size(v))}` },
              { title: "Findings", width: 250, render: (_, v) => (
                <>
                  {v.job && <a href={href(`/jobs/${v.job.id}`)}><Tag color={v.job.state === "completed" ? "success" : "processing"}>{v.job.state === "completed" ? "migrated" : v.job.state}</Tag></a>}
                  {v.findings.filter((x) => x.level !== "pass").map((x) => <Tooltip key={x.code} title={`${x.text}. ${x.hint ?? ""}`}><Tag color={x.level === "failure" ? "error" : "warning"}>{x.text}</Tag></Tooltip>)}
                  {v.cbt === false && <Tag>CBT off</Tag>}{v.snapshots > 0 && <Tag>{f.plural(v.snapshots, "snapshot")}</Tag>}
                </>) },
            ]} />
        </div>
      </Loaded>
    </div>
  );
}
