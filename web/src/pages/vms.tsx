// What a vCenter has: a tree of where it is, a table of what it is, and what speaks against migrating it.
import {
  Button, Card, Checkbox, Descriptions, Drawer, Grid, Input, Segmented, Select, Table, type TableColumnsType, Tag, Tooltip, Tree,
} from "antd";
import { useEffect, useMemo, useState } from "react";
import { useEnvironments, useVms } from "../api/hooks";
import type { Vm } from "../api/types";
import { Findings } from "../components/findings";
import { Loaded, Nothing, PageHead } from "../components/states";
import * as f from "../lib/format";
import { filterVms, flatTree, isMigrated, type Place, sizeOf, speaksAgainst, treeOf, type View, type VmFilter } from "../lib/inventory";
import { load, save } from "../lib/local";
import { addVms } from "../lib/plan";
import { changePlan } from "../lib/plan-store";
import { go, href, replaceQuery, useRoute } from "../lib/router";
import { useSession } from "../session";

const FINDINGS = [
  { value: "clean", label: "nothing against it" },
  { value: "warning", label: "with warnings" },
  { value: "failure", label: "with failures" },
];

/** What is left of the window below the filters: the table scrolls, the page does not. */
function useRoom(above: number): number {
  const [height, setHeight] = useState(window.innerHeight);
  useEffect(() => {
    const changed = () => setHeight(window.innerHeight);
    window.addEventListener("resize", changed);
    return () => window.removeEventListener("resize", changed);
  }, []);
  return Math.max(280, height - above);
}

function Badges({ vm }: { vm: Vm }) {
  return (
    <div className="badges">
      {vm.job && (
        <a href={href(`/jobs/${vm.job.id}`)}>
          <Tag color={isMigrated(vm) ? "success" : vm.job.state === "failed" ? "error" : "processing"}>{isMigrated(vm) ? "migrated" : vm.job.state}</Tag>
        </a>
      )}
      {speaksAgainst(vm).map((x) => (
        <Tooltip key={`${x.code}${x.text}`} title={x.hint}>
          <Tag color={x.level === "failure" ? "error" : "warning"} title={x.text}>{x.text}</Tag>
        </Tooltip>
      ))}
      {vm.cbt === false && <Tag>CBT off</Tag>}
      {vm.snapshots > 0 && <Tag>{f.plural(vm.snapshots, "snapshot")}</Tag>}
    </div>
  );
}

function Details({ vm, onClose }: { vm: Vm | null; onClose: () => void }) {
  return (
    <Drawer open={vm !== null} onClose={onClose} size={560} title={vm?.name}>
      {vm && (
        <div className="stack">
          <Badges vm={vm} />
          <Descriptions size="small" bordered column={1} items={[
            { key: 1, label: "Where", children: [vm.datacenter, vm.cluster, vm.host].filter(Boolean).join(" / ") || "–" },
            { key: 2, label: "Folder", children: vm.folder ?? "–" },
            { key: 3, label: "Guest", children: vm.guest || "–" },
            { key: 4, label: "Size", children: `${vm.cpu} CPU, ${f.bytes(vm.memory_mib * 2 ** 20)}` },
            { key: 5, label: "Firmware", children: [vm.firmware ?? "–", vm.secure_boot && "secure boot", vm.vtpm && "TPM"].filter(Boolean).join(", ") },
            { key: 6, label: "Tools", children: vm.tools || "–" },
            { key: 7, label: "Moref", children: <span className="mono">{vm.moref}</span> },
            { key: 8, label: "UUID", children: <span className="mono">{vm.instance_uuid || "–"}</span> },
          ]} />
          <h2>Disks</h2>
          <ul className="plain">
            {vm.disks.map((d) => (
              <li key={d.key}>
                <strong>{d.label}</strong> {d.boot && <Tag>boot</Tag>} <span className="num">{f.bytes(d.bytes)}</span>
                <div className="muted mono">{d.address} {d.datastore && `on ${d.datastore}`}</div>
              </li>
            ))}
          </ul>
          <h2>Network adapters</h2>
          <ul className="plain">
            {vm.nics.map((n) => (
              <li key={n.key}>
                <strong>{n.label}</strong> {n.network ?? "not connected"}
                <div className="muted mono">{n.mac} {n.ip}</div>
              </li>
            ))}
          </ul>
          <h2>Findings</h2>
          <Findings list={vm.findings} />
        </div>
      )}
    </Drawer>
  );
}

function PlaceTitle({ place }: { place: Place }) {
  return (
    <span className="row-tight">
      <span className="grow clamp" title={place.title}>{place.title}</span>
      <span className="muted num">{place.count}</span>
    </span>
  );
}

function columnsOf(open: (vm: Vm) => void, screen: { md?: boolean }): TableColumnsType<Vm> {
  const wide = screen.md ?? true;
  const all: (TableColumnsType<Vm>[number] & { phone?: boolean })[] = [
    {
      title: "Name", width: wide ? 220 : 150, phone: true, sorter: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }),
      render: (_, v) => (
        <>
          <button type="button" className="link clamp" onClick={() => open(v)} title={v.name}>{v.name}</button>
          <div className="muted clamp" title={v.guest}>{v.guest}</div>
        </>
      ),
    },
    {
      title: "Power", width: 88, sorter: (a, b) => a.power.localeCompare(b.power),
      render: (_, v) => <Tag color={v.power === "on" ? "success" : "default"}>{v.power}</Tag>,
    },
    {
      title: "Size", width: 92, className: "num", sorter: (a, b) => a.cpu - b.cpu || a.memory_mib - b.memory_mib,
      render: (_, v) => <>{v.cpu} CPU<div className="muted">{f.bytes(v.memory_mib * 2 ** 20)}</div></>,
    },
    {
      title: "Disks", width: 92, className: "num", sorter: (a, b) => sizeOf(a) - sizeOf(b),
      render: (_, v) => <>{f.bytes(sizeOf(v))}<div className="muted">{f.plural(v.disks.length, "disk")}</div></>,
    },
    {
      title: "Findings", width: wide ? 240 : 170, phone: true, sorter: (a, b) => speaksAgainst(a).length - speaksAgainst(b).length,
      render: (_, v) => <Badges vm={v} />,
    },
  ];
  return all.filter((c) => wide || c.phone);
}

function useFilter(): [VmFilter, (change: Partial<VmFilter>) => void] {
  const [filter, setFilter] = useState<VmFilter>(() => ({
    text: "", hideMigrated: false, view: load<View>("v2c.inventory.view", "hosts") === "folders" ? "folders" : "hosts", place: "",
  }));
  return [filter, (change) => setFilter((old) => ({ ...old, ...change }))];
}

export default function Vms() {
  const { can } = useSession();
  const { query: q } = useRoute();
  const screen = Grid.useBreakpoint();
  const room = useRoom(screen.md ? 268 : 380);
  const envs = useEnvironments();
  const vcenters = (envs.data ?? []).filter((e) => e.kind === "vcenter");
  const env = q.get("env") ?? vcenters[0]?.id;
  const vms = useVms(env);
  const [filter, change] = useFilter();
  const [selected, setSelected] = useState<string[]>([]);
  const [opened, setOpened] = useState<Vm | null>(null);
  const all = useMemo(() => vms.data ?? [], [vms.data]);
  const shown = useMemo(() => filterVms(all, filter), [all, filter]);
  const tree = useMemo(() => treeOf(all, filter.view), [all, filter.view]);
  const wanted = useMemo(() => new Set(selected), [selected]);
  const hidden = selected.length - shown.filter((v) => wanted.has(v.moref)).length;
  const counts = `${f.plural(shown.length, "VM")} of ${all.length}${hidden > 0 ? `; ${hidden} of the selected are not among them` : ""}`;
  const columns = useMemo(() => columnsOf(setOpened, screen), [screen]);
  const plan = () => {
    changePlan((p) => addVms(p, env!, all.filter((v) => wanted.has(v.moref))));
    go("/plan");
  };
  const setView = (view: View) => {
    save("v2c.inventory.view", view);
    change({ view, place: "" });
  };
  if (!envs.data || vcenters.length === 0)
    return (
      <div className="page">
        <PageHead title="Virtual machines" />
        <Loaded query={envs}>
          <Card><Nothing action={<Button href="#/environments">Environments</Button>}>No vCenter is known yet</Nothing></Card>
        </Loaded>
      </div>
    );
  const views = (
    <Segmented size="small" value={filter.view} onChange={(v) => setView(v as View)} aria-label="Order of the tree"
      options={[{ value: "hosts", label: "Hosts" }, { value: "folders", label: "Folders" }]} />
  );
  return (
    <div className="page">
      <PageHead title="Virtual machines" sub={vms.data && counts}>
        <Button onClick={() => void vms.refetch()} loading={vms.isFetching}>Read again</Button>
        {can("operator") && selected.length > 0 && <Button onClick={() => setSelected([])}>Select none</Button>}
        {can("operator") && (
          <Button type="primary" disabled={selected.length === 0} onClick={plan}>Plan {f.plural(selected.length, "VM")}</Button>
        )}
      </PageHead>
      <div className="row">
        <Select aria-label="vCenter" value={env} style={{ width: 170 }} options={vcenters.map((e) => ({ value: e.id, label: e.name }))}
          onChange={(v) => { setSelected([]); change({ place: "" }); replaceQuery({ env: v }); }} />
        <Input.Search aria-label="Search VMs" placeholder="Name, guest, host, address" allowClear style={{ width: 230 }}
          onChange={(e) => change({ text: e.target.value })} />
        <Select aria-label="Power" allowClear placeholder="Any power" style={{ width: 120 }} value={filter.power}
          onChange={(power?: string) => change({ power })} options={["on", "off", "suspended"].map((v) => ({ value: v, label: v }))} />
        <Select aria-label="Findings" allowClear placeholder="Any findings" style={{ width: 160 }} value={filter.findings}
          onChange={(findings?: string) => change({ findings })} options={FINDINGS} />
        <Checkbox checked={filter.hideMigrated} onChange={(e) => change({ hideMigrated: e.target.checked })}>Hide migrated</Checkbox>
        {!screen.lg && (
          <Select aria-label="Place" allowClear placeholder="Anywhere" style={{ width: 230 }} value={filter.place || undefined}
            onChange={(place?: string) => change({ place: place ?? "" })} options={flatTree(tree)} />
        )}
      </div>
      <Loaded query={vms}>
        <div className={screen.lg ? "inventory" : undefined}>
          {screen.lg && (
            <Card size="small" title="Inventory" extra={views} styles={{ body: { padding: "8px 4px" } }}>
              <div className="places" style={{ height: room + 4 }} tabIndex={0} role="group" aria-label="Places">
                <Tree key={`${env}${filter.view}${tree.length}`} blockNode defaultExpandAll selectedKeys={[filter.place]}
                  treeData={tree} onSelect={(k) => change({ place: String(k[0] ?? "") })} aria-label="Where VMs are"
                  titleRender={(p) => <PlaceTitle place={p} />} />
              </div>
            </Card>
          )}
          <Table<Vm> size="small" rowKey="moref" virtual pagination={false} scroll={{ x: screen.md ? 760 : 360, y: room }}
            dataSource={shown} columns={columns}
            locale={{ emptyText: <Nothing>{all.length ? "No VM is like that" : "This vCenter has no VM that the account may see"}</Nothing> }}
            rowSelection={can("operator") ? {
              selectedRowKeys: selected, onChange: (k) => setSelected(k.map(String)), preserveSelectedRowKeys: true, columnWidth: 38,
              getCheckboxProps: (v) => ({ "aria-label": `Select ${v.name}` }) as object,
              getTitleCheckboxProps: () => ({ "aria-label": "Select all that are shown" }) as object,
            } : undefined} />
        </div>
      </Loaded>
      <Details vm={opened} onClose={() => setOpened(null)} />
    </div>
  );
}
