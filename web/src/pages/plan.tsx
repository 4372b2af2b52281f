import { Alert, App, Button, Card, Checkbox, Input, InputNumber, Popconfirm, Select, Table, Tabs, Tag } from "antd";
import { useRef, useState } from "react";
import { createJobs, renderSpecs, useChange, useEnvironments, useResources, useVms } from "../api/hooks";
import type { Resource, ResourceKind } from "../api/types";
import { ErrorBox, Nothing, PageHead } from "../components/states";
import { importCsv } from "../lib/csv";
import * as f from "../lib/format";
import { download } from "../lib/local";
import {
  changeDrafts, common, type Draft, draftFromSpec, emptyPlan, findVm, importDrafts, mapNetwork, networkOf, type Placement, portGroups,
  problems, removeVms, setDisk, setNic, setPlacement, setStrategy, specOf, type Strategy, totalBytes, unknownIds, VARIOUS, warnings,
} from "../lib/plan";
import { changePlan, usePlan } from "../lib/plan-store";
import { go } from "../lib/router";
import { suggestBoot, suggestOffering, suggestOsType } from "../lib/suggest";
import { useSession } from "../session";

const title = (r: Resource) => String(r.name ?? r["description"] ?? r.id);
const options = (list: Resource[] | undefined) => (list ?? []).map((r) => ({ value: r.id, label: title(r) }));
const words = (...list: string[]) => list.map((v) => ({ value: v, label: v }));

function Choice({ label, values, list, onChange, disabled, suggested }: {
  label: string; values: (string | undefined)[]; list: { value: string; label: string }[]; onChange: (v: string | undefined) => void; disabled?: boolean; suggested?: boolean;
}) {
  const value = common(values);
  return (
    <div className="field">
      <div className="label">{label} {suggested && <Tag color="blue">suggested</Tag>}</div>
      <Select aria-label={label} style={{ width: "100%" }} allowClear showSearch={{ optionFilterProp: "label" }} disabled={disabled} options={list} value={value === VARIOUS ? undefined : value}
        placeholder={value === VARIOUS ? "various" : "not chosen"} onChange={(v?: string) => onChange(v)} />
    </div>
  );
}

const NUMBERS: [keyof Strategy, string][] = [
  ["delta_interval", "Delta interval, s"], ["finalize_window", "Window before the cutover, s"], ["finalize_delta_interval", "Delta interval in it, s"],
  ["finalize_settle_seconds", "Pause after power-off, s"], ["cutover_max_downtime", "Longest downtime, s"], ["readers", "Connections a disk"], ["parallel_disks", "Disks at once"],
];
const WORDS: [keyof Strategy, string, string[]][] = [
  ["shutdown_mode", "Shutdown", ["auto", "force", "manual"]], ["snapshot_quiesce", "Quiesce", ["auto", "true", "false"]], ["verify", "Verify", ["none", "sample", "full"]],
  ["on_failure", "When a cutover fails", ["keep", "power_on_source"]], ["import_method", "Import by", ["importvm", "shell"]],
];

function Editor({ drafts }: { drafts: Draft[] }) {
  const plan = usePlan();
  const cs = plan.cloudstack;
  const zone = common(drafts.map((d) => d.placement.zoneid));
  const zoneid = typeof zone === "string" ? zone : undefined;
  const use = (what: ResourceKind, zonal = false) => useResources(cs, what, zonal ? zoneid : undefined, !zonal || Boolean(zoneid)).data;
  const zones = use("zones"), clusters = use("clusters", true), storage = use("storage", true), networks = use("networks", true);
  const offerings = use("serviceofferings"), diskOfferings = use("diskofferings"), ostypes = use("ostypes");
  const ids = new Set(drafts.map((d) => d.moref));
  const change = (c: (d: Draft) => Draft) => changePlan((p) => changeDrafts(p, ids, c));
  const place = (key: keyof Placement, label: string, list: { value: string; label: string }[], disabled = false) => (
    <Choice label={label} list={list} disabled={disabled} values={drafts.map((d) => d.placement[key])} suggested={drafts.some((d) => d.suggested.includes(key))}
      onChange={(v) => change((d) => setPlacement(d, { [key]: v }))} />
  );
  const inZone = (list: Resource[] | undefined) => options((list ?? []).filter((r) => !r["zoneid"] || r["zoneid"] === zoneid));
  const suggest = () => change((d) => {
    const p: Partial<Placement> = {};
    if (!d.placement.serviceofferingid) p.serviceofferingid = suggestOffering(offerings ?? [], d.cpu, d.memoryMib)?.id;
    if (!d.placement.ostypeid) p.ostypeid = suggestOsType(ostypes ?? [], d.guest)?.id;
    if (!d.placement.boottype) Object.assign(p, suggestBoot({ firmware: d.firmware, secure_boot: d.secureBoot }));
    for (const k of Object.keys(p) as (keyof Placement)[]) if (!p[k]) delete p[k];
    return setPlacement(d, p, true);
  });
  const one = drafts.length === 1 ? drafts[0]! : null;
  const strategy = (key: keyof Strategy) => common(drafts.map((d) => d.strategy[key]));
  const setS = (key: keyof Strategy, v: unknown) => change((d) => setStrategy(d, { [key]: v ?? undefined }));
  const text = (key: keyof Strategy, label: string, hint: string) => {
    const v = strategy(key);
    return <div className="field" key={key}><div className="label">{label}</div><Input aria-label={label} value={typeof v === "string" ? v : ""} placeholder={v === VARIOUS ? "various" : hint} onChange={(e) => setS(key, e.target.value)} /></div>;
  };
  const flag = (key: keyof Strategy, label: string) => {
    const values = drafts.map((d) => (d.strategy[key] === true ? "yes" : d.strategy[key] === false ? "no" : undefined));
    return <Choice key={key} label={label} list={words("yes", "no")} values={values} onChange={(x) => setS(key, x === undefined ? undefined : x === "yes")} />;
  };
  return (
    <Card size="small" title={one ? one.name : `${drafts.length} VMs together`} extra={<Button size="small" onClick={suggest}>Fill in suggestions</Button>}>
      <Tabs items={[
        { key: "place", label: "Placement", children: (
          <div className="fields">
            {place("zoneid", "Zone", options(zones))}{place("clusterid", "Cluster", inZone(clusters), !zoneid)}{place("storageid", "Storage pool", inZone(storage), !zoneid)}
            {place("serviceofferingid", "Service offering", options(offerings))}{place("diskofferingid", "Disk offering of data disks", options(diskOfferings))}{place("ostypeid", "OS type", options(ostypes))}
            {place("boottype", "Firmware", words("BIOS", "UEFI"))}{place("bootmode", "UEFI mode", words("Legacy", "Secure"), !drafts.every((d) => d.placement.boottype === "UEFI"))}
            {place("rootdiskcontroller", "Disk controller", words("virtio-scsi", "virtio", "sata", "ide"))}{place("nicadapter", "NIC adapter", words("virtio", "e1000", "rtl8139", "pcnet"))}
          </div>) },
        { key: "net", label: "Networks", children: !zoneid ? <Nothing>Choose one zone first</Nothing> : (
          <>
            <p className="muted">Each port group goes to one network; this holds for all VMs of the plan in this zone.</p>
            <div className="fields">{portGroups(plan, drafts).map((g) => (
              <Choice key={g.network} label={`${g.network || "not connected"} (${f.plural(g.nics, "NIC")})`} values={[g.target]} list={inZone(networks)} onChange={(v) => changePlan((p) => mapNetwork(p, g.zone, g.network, v))} />
            ))}</div>
            {one && <div className="fields" style={{ marginTop: 16 }}>{one.nics.map((n) => (
              <div key={n.key}>
                <Choice label={`${n.label} alone`} values={[n.networkid]} list={inZone(networks)} onChange={(v) => change((d) => setNic(d, n.key, { networkid: v }))} />
                <Input aria-label={`Address of ${n.label}`} style={{ marginTop: 6 }} placeholder="address: keep, auto, or one" value={n.ip ?? ""} onChange={(e) => change((d) => setNic(d, n.key, { ip: e.target.value || undefined }))} />
              </div>))}</div>}
          </>) },
        { key: "disks", label: "Disks", children: !one ? <Nothing>Choose one VM to give its disks places of their own</Nothing> : (
          <ul className="plain">{one.disks.map((k) => (
            <li key={k.key}><strong>{k.label}</strong> <span className="muted num">{k.address} · {f.bytes(k.bytes)}</span> {k.boot ? <Tag>boot: the VM's pool</Tag> : (
              <div className="fields">
                <Choice label={`Pool of ${k.label}`} values={[k.storageid]} list={inZone(storage)} disabled={!zoneid} onChange={(v) => change((d) => setDisk(d, k.key, { storageid: v }))} />
                <Choice label={`Disk offering of ${k.label}`} values={[k.diskofferingid]} list={options(diskOfferings)} onChange={(v) => change((d) => setDisk(d, k.key, { diskofferingid: v }))} />
              </div>)}</li>))}</ul>) },
        { key: "strategy", label: "Strategy", children: (
          <>
            <p className="muted">What is left empty is as the engine's configuration says.</p>
            <div className="fields">
              {text("finalize_at", "Cutover at", f.rfc3339(new Date(Date.now() + 864e5)))}{text("bandwidth_limit", "Bandwidth", "200MiB/s")}
              {NUMBERS.map(([k, l]) => { const v = strategy(k); return <div className="field" key={k}><div className="label">{l}</div><InputNumber aria-label={l} min={0} precision={0} style={{ width: "100%" }} placeholder={v === VARIOUS ? "various" : "as configured"} value={typeof v === "number" ? v : null} onChange={(x) => setS(k, x)} /></div>; })}
              {WORDS.map(([k, l, list]) => <Choice key={k} label={l} list={words(...list)} values={drafts.map((d) => d.strategy[k] as string | undefined)} onChange={(v) => setS(k, v)} />)}
              {flag("run_virt_v2v", "Convert the guest")}{flag("start_vm_after_import", "Start it after the import")}
            </div>
          </>) },
      ]} />
    </Card>
  );
}

export default function PlanPage() {
  const plan = usePlan();
  const { can } = useSession();
  const { message } = App.useApp();
  const envs = useEnvironments();
  const vms = useVms(plan.vcenter);
  const [selected, setSelected] = useState<string[]>([]);
  const [yaml, setYaml] = useState<{ text: string; problems: string[] } | null>(null);
  const [faults, setFaults] = useState<string[]>([]);
  const [sure, setSure] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const cs = plan.cloudstack;
  const use = (what: ResourceKind) => useResources(cs, what).data ?? [];
  const resources = { zones: use("zones"), clusters: use("clusters"), storage: use("storage"), networks: use("networks"), serviceofferings: use("serviceofferings"), diskofferings: use("diskofferings"), ostypes: use("ostypes") };
  const drafts = plan.drafts;
  // Of another CloudStack than the one chosen now, or gone since: what is not listed cannot be meant.
  const idsOf = (list: Resource[]) => new Set(list.map((r) => r.id));
  const known = cs && Object.values(resources).every((list) => list.length) ? {
    zoneid: idsOf(resources.zones), clusterid: idsOf(resources.clusters), storageid: idsOf(resources.storage), serviceofferingid: idsOf(resources.serviceofferings),
    diskofferingid: idsOf(resources.diskofferings), ostypeid: idsOf(resources.ostypes),
  } : {};
  const faultsOf = (d: Draft) => [...problems(plan, d), ...unknownIds(d, known)];
  const bad = drafts.map(faultsOf);
  const open = bad.filter((b) => b.length > 0).length;
  const specs = () => drafts.map((d) => specOf(plan, d));
  const review = useChange(async () => {
    const r = await renderSpecs({ vms: specs() });
    setYaml({ text: r.yaml, problems: r.problems });
    return r;
  });
  const begin = useChange(async (kind: "check" | "migrate") => {
    const jobs = await createJobs({ kind, vcenter: plan.vcenter ?? undefined, cloudstack: cs ?? undefined, vms: specs(), wave: plan.wave || undefined, priority: plan.priority, not_before: plan.notBefore ?? undefined });
    if (kind === "migrate") {
      changePlan(() => ({ ...emptyPlan(), vcenter: plan.vcenter, cloudstack: cs, networkMap: plan.networkMap }));
      void message.success(`${f.plural(jobs.length, "migration")} begun`);
      go("/jobs");
    } else if (jobs[0]) go(`/jobs/${jobs[0].id}`);
    return jobs;
  }, "jobs", "overview", "vms");
  const bring = async (file: File) => {
    const text = await file.text();
    const env = plan.vcenter ?? envs.data?.find((e) => e.kind === "vcenter")?.id;
    if (!env || !vms.data) return setFaults(["Choose the vCenter first"]);
    let made: Draft[] = [];
    let wave: string | null = null;
    let errors: string[] = [];
    if (/\.ya?ml$/i.test(file.name)) {
      try {
        const r = await renderSpecs({ yaml: text });
        for (const s of r.vms) {
          const vm = findVm(vms.data, s.vm ?? {});
          if (typeof vm === "string") errors.push(vm);
          else made.push(draftFromSpec(vm, s));
        }
      } catch (e) { errors = [(e as Error).message]; }
    } else ({ drafts: made, wave, errors } = importCsv(text, vms.data, resources));
    setFaults(errors);
    // A file with a fault brings nothing: half a wave is worse than none.
    if (errors.length === 0) {
      changePlan((p) => ({ ...importDrafts(p, env, made), wave: wave ?? p.wave }));
      void message.success(`${f.plural(made.length, "VM")} imported`);
    }
    return undefined;
  };
  const of = (kind: string) => (envs.data ?? []).filter((e) => e.kind === kind).map((e) => ({ value: e.id, label: e.name }));
  const edited = drafts.filter((d) => selected.includes(d.moref));
  const name = (list: Resource[], id?: string) => { const r = list.find((x) => x.id === id); return r ? title(r) : id ? <Tag color="warning">{id}</Tag> : <span className="muted">not chosen</span>; };
  return (
    <div className="page">
      <PageHead title="Plan" sub={drafts.length ? `${f.plural(drafts.length, "VM")}, ${open === 0 ? "all ready" : `${open} not ready`}` : undefined}>
        <input ref={input} type="file" accept=".csv,.yaml,.yml" hidden aria-label="File to import" onChange={(e) => { const x = e.target.files?.[0]; if (x) void bring(x); e.target.value = ""; }} />
        <Button onClick={() => input.current?.click()} disabled={!plan.vcenter}>Import CSV or YAML</Button>
        <Button href="#/vms">Add VMs</Button>
        {drafts.length > 0 && <Popconfirm title="Empty the plan?" onConfirm={() => changePlan((p) => ({ ...p, drafts: [] }))}><Button>Empty it</Button></Popconfirm>}
      </PageHead>
      <div className="row">
        <Select aria-label="vCenter" placeholder="vCenter" style={{ width: 190 }} value={plan.vcenter} options={of("vcenter")} disabled={drafts.length > 0} onChange={(v) => changePlan((p) => ({ ...p, vcenter: v }))} />
        <Select aria-label="CloudStack" placeholder="CloudStack" style={{ width: 190 }} value={cs} options={of("cloudstack")} onChange={(v) => changePlan((p) => ({ ...p, cloudstack: v }))} />
        <Input aria-label="Wave" placeholder="Wave, if any" maxLength={64} style={{ width: 160 }} value={plan.wave} onChange={(e) => changePlan((p) => ({ ...p, wave: e.target.value }))} />
      </div>
      {faults.length > 0 && <Alert type="error" showIcon closable={{ onClose: () => setFaults([]) }} title="The file was not imported" description={<ul>{faults.map((x) => <li key={x}>{x}</li>)}</ul>} />}
      {drafts.length === 0 ? <Card><Nothing action={<Button type="primary" href="#/vms">Choose virtual machines</Button>}>No VM is planned</Nothing></Card> : (
        <>
          {!cs && <Alert type="info" showIcon title="Choose the CloudStack they go to" />}
          <div className="plan">
            <Table<Draft> size="small" rowKey="moref" virtual pagination={false} scroll={{ x: 760, y: 460 }} dataSource={drafts}
              rowSelection={{ selectedRowKeys: selected, onChange: (k) => setSelected(k.map(String)), columnWidth: 42, getCheckboxProps: (d) => ({ "aria-label": `Edit ${d.name}` } as object), getTitleCheckboxProps: () => ({ "aria-label": "Edit all" } as object) }}
              columns={[
                { title: "VM", width: 150, render: (_, d) => <Button type="link" size="small" onClick={() => setSelected([d.moref])}>{d.name}</Button> },
                { title: "Size", width: 110, className: "num", render: (_, d) => <>{d.cpu} CPU<div className="muted">{f.bytes(totalBytes(d))}</div></> },
                { title: "Zone", width: 110, render: (_, d) => name(resources.zones, d.placement.zoneid) },
                { title: "Offering", width: 120, render: (_, d) => name(resources.serviceofferings, d.placement.serviceofferingid) },
                { title: "Networks", width: 120, render: (_, d) => d.nics.map((n) => <div key={n.key}>{name(resources.networks, networkOf(plan, d, n))}</div>) },
                { title: "State", width: 230, render: (_, d) => { const p = faultsOf(d); const w = warnings(plan, d); return p.length ? <><Tag color="error">{f.plural(p.length, "problem")}</Tag><span>{p[0]!.text}</span></> : <><Tag color="success">ready</Tag>{w[0] && <span className="muted">{w[0]}</span>}</>; } },
              ]} />
            {edited.length > 0 && cs ? <Editor drafts={edited} /> : <Card><Nothing>Select VMs to choose where they go</Nothing></Card>}
          </div>
          {edited.length > 0 && <div><Button onClick={() => { changePlan((p) => removeVms(p, new Set(selected))); setSelected([]); }}>Take {f.plural(edited.length, "VM")} out of the plan</Button></div>}
          <Card size="small" title="Review and start">
            <div className="row">
              <Button onClick={() => review.mutate(undefined)} loading={review.isPending}>Show the YAML</Button>
              {yaml && <Button onClick={() => download("plan.yaml", yaml.text, "application/yaml")}>Download</Button>}
              {can("operator") && <Button disabled={open > 0 || !cs} loading={begin.isPending} onClick={() => begin.mutate("check")}>Preflight check</Button>}
              <span className="grow" />
              {can("operator") && <Checkbox checked={sure} onChange={(e) => setSure(e.target.checked)}>I have reviewed {f.plural(drafts.length, "VM")}</Checkbox>}
              {can("operator") && <Button type="primary" disabled={open > 0 || !cs || !sure || Boolean(yaml?.problems.length)} loading={begin.isPending} onClick={() => begin.mutate("migrate")}>Start {f.plural(drafts.length, "migration")}</Button>}
            </div>
            {!can("operator") && <p className="muted">A viewer cannot start migrations.</p>}
            {(begin.error ?? review.error) && <ErrorBox error={begin.error ?? review.error} />}
            {yaml?.problems.map((p) => <Alert key={p} type="error" title={p} style={{ marginTop: 8 }} />)}
            {yaml && <pre className="text" tabIndex={0} aria-label="YAML" style={{ marginTop: 12, maxHeight: 420 }}>{yaml.text}</pre>}
          </Card>
        </>
      )}
    </div>
  );
}
