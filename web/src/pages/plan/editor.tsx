// What is chosen for the selected VMs of the plan: placement, networks, disks, strategy.
import { Button, Card, Input, Tabs, Tag } from "antd";
import { Nothing } from "../../components/states";
import type { Resources } from "../../lib/csv";
import * as f from "../../lib/format";
import {
  changeDrafts, common, type Draft, mapNetwork, type Placement, portGroups, setDisk, setNic, setPlacement, setStrategy, type Strategy,
} from "../../lib/plan";
import { changePlan, usePlan } from "../../lib/plan-store";
import { inZone, optionsOf } from "../../lib/resources";
import { suggestBoot, suggestOffering, suggestOsType } from "../../lib/suggest";
import { Choice, NumberField, TextField, TimeField, words } from "./fields";

interface Part {
  drafts: Draft[];
  resources: Resources;
  zone: string | undefined;
  change: (c: (d: Draft) => Draft) => void;
}

function PlacementPart({ drafts, resources, zone, change }: Part) {
  const place = (key: keyof Placement, label: string, list: { value: string; label: string }[], disabled = false) => (
    <Choice
      label={label} list={list} disabled={disabled} values={drafts.map((d) => d.placement[key])}
      suggested={drafts.some((d) => d.suggested.includes(key))} onChange={(v) => change((d) => setPlacement(d, { [key]: v }))}
    />
  );
  const text = (key: keyof Placement, label: string) => (
    <TextField label={label} values={drafts.map((d) => d.placement[key])} hint="that of the API key"
      onChange={(v) => change((d) => setPlacement(d, { [key]: v }))} />
  );
  const uefi = drafts.every((d) => d.placement.boottype === "UEFI");
  return (
    <>
      <div className="fields">
        {place("zoneid", "Zone", optionsOf(resources.zones))}
        {place("clusterid", "Cluster", optionsOf(inZone(resources.clusters, zone)), !zone)}
        {place("storageid", "Storage pool", optionsOf(inZone(resources.storage, zone)), !zone)}
        {place("serviceofferingid", "Service offering", optionsOf(resources.serviceofferings))}
        {place("diskofferingid", "Disk offering of data disks", optionsOf(resources.diskofferings))}
        {place("ostypeid", "OS type", optionsOf(resources.ostypes))}
        {place("boottype", "Firmware", words("BIOS", "UEFI"))}
        {place("bootmode", "UEFI mode", words("Legacy", "Secure"), !uefi)}
        {place("rootdiskcontroller", "Disk controller", words("virtio-scsi", "virtio", "sata", "ide"))}
        {place("nicadapter", "NIC adapter", words("virtio", "e1000", "rtl8139", "pcnet"))}
      </div>
      <details style={{ marginTop: 16 }}>
        <summary>Owner in CloudStack</summary>
        <div className="fields" style={{ marginTop: 8 }}>
          {text("account", "Account")}
          {text("domainid", "Id of the domain")}
          {text("projectid", "Id of the project")}
        </div>
      </details>
    </>
  );
}

function NetworksPart({ drafts, resources, zone, change }: Part) {
  const plan = usePlan();
  if (!zone) return <Nothing>Choose one zone first</Nothing>;
  const list = optionsOf(inZone(resources.networks, zone));
  const one = drafts.length === 1 ? drafts[0]! : null;
  return (
    <>
      <p className="muted">Each port group goes to one network; this holds for all VMs of the plan in this zone.</p>
      <div className="fields">
        {portGroups(plan, drafts).map((g) => (
          <Choice key={g.network} label={`${g.network || "not connected"} (${f.plural(g.nics, "NIC")})`} values={[g.target]} list={list}
            onChange={(v) => changePlan((p) => mapNetwork(p, g.zone, g.network, v))} />
        ))}
      </div>
      {one ? (
        <div className="fields" style={{ marginTop: 16 }}>
          {one.nics.map((n) => (
            <div key={n.key}>
              <Choice label={`${n.label} alone`} values={[n.networkid]} list={list} hint="as its port group"
                onChange={(v) => change((d) => setNic(d, n.key, { networkid: v }))} />
              <Input aria-label={`Address of ${n.label}`} style={{ marginTop: 6 }} placeholder="address: keep, auto, or one"
                value={n.ip ?? ""}
                onChange={(e) => change((d) => setNic(d, n.key, { ip: e.target.value || undefined }))} />
              <div className="help muted mono">{n.mac}</div>
            </div>
          ))}
        </div>
      ) : (
        <p className="muted">Select one VM alone to give its adapters networks and addresses of their own.</p>
      )}
    </>
  );
}

function DisksPart({ drafts, resources, zone, change }: Part) {
  const one = drafts.length === 1 ? drafts[0]! : null;
  if (!one) return <Nothing>Choose one VM to give its disks places of their own</Nothing>;
  return (
    <ul className="plain">
      {one.disks.map((k) => (
        <li key={k.key}>
          <strong>{k.label}</strong> <span className="muted num">{k.address} · {f.bytes(k.bytes)}</span>
          {k.boot && <Tag style={{ marginLeft: 8 }}>boot: the VM's pool</Tag>}
          {!k.boot && (
            <div className="fields" style={{ marginTop: 6 }}>
              <Choice label={`Pool of ${k.label}`} values={[k.storageid]} list={optionsOf(inZone(resources.storage, zone))} disabled={!zone}
                hint="that of the VM" onChange={(v) => change((d) => setDisk(d, k.key, { storageid: v }))} />
              <Choice label={`Disk offering of ${k.label}`} values={[k.diskofferingid]} list={optionsOf(resources.diskofferings)}
                hint="that of the VM" onChange={(v) => change((d) => setDisk(d, k.key, { diskofferingid: v }))} />
            </div>
          )}
        </li>
      ))}
    </ul>
  );
}

type Keys<T> = { [K in keyof Strategy]-?: NonNullable<Strategy[K]> extends T ? K : never }[keyof Strategy];
const NUMBERS: [Keys<number>, string][] = [
  ["finalize_window", "Window before the cutover, s"],
  ["delta_interval", "Delta interval, s"],
  ["finalize_delta_interval", "Delta interval in it, s"],
  ["cutover_max_downtime", "Longest downtime, s"],
  ["finalize_settle_seconds", "Pause after power-off, s"],
  ["readers", "Connections a disk"],
  ["parallel_disks", "Disks at once"],
];
const WORDS: [Keys<string>, string, string[]][] = [
  ["shutdown_mode", "Shutdown", ["auto", "force", "manual"]],
  ["snapshot_quiesce", "Quiesce", ["auto", "true", "false"]],
  ["verify", "Verify", ["none", "sample", "full"]],
  ["on_failure", "When a cutover fails", ["keep", "power_on_source"]],
  ["import_method", "Import by", ["importvm", "shell"]],
];
const FLAGS: [Keys<boolean>, string][] = [["run_virt_v2v", "Convert the guest"], ["start_vm_after_import", "Start it after the import"]];

function StrategyPart({ drafts, change }: Part) {
  const set = (key: keyof Strategy, v: unknown) => change((d) => setStrategy(d, { [key]: v }));
  return (
    <>
      <p className="muted">What is left empty is as the engine's configuration says.</p>
      <div className="fields">
        <TimeField label="Cutover at" values={drafts.map((d) => d.strategy.finalize_at)} hint="when somebody asks for it"
          onChange={(v) => set("finalize_at", v)} />
        {NUMBERS.map(([key, label]) => (
          <NumberField key={key} label={label} values={drafts.map((d) => d.strategy[key])} onChange={(v) => set(key, v)} />
        ))}
        <TextField label="Bandwidth" values={drafts.map((d) => d.strategy.bandwidth_limit)} hint="08:00-18:00 50MiB/s, 200MiB/s"
          onChange={(v) => set("bandwidth_limit", v)} />
        {WORDS.map(([key, label, list]) => (
          <Choice key={key} label={label} list={words(...list)} values={drafts.map((d) => d.strategy[key])} hint="as configured"
            onChange={(v) => set(key, v)} />
        ))}
        {FLAGS.map(([key, label]) => (
          <Choice key={key} label={label} list={words("yes", "no")} hint="as configured"
            values={drafts.map((d) => (d.strategy[key] === undefined ? undefined : d.strategy[key] ? "yes" : "no"))}
            onChange={(v) => set(key, v === undefined ? undefined : v === "yes")} />
        ))}
      </div>
    </>
  );
}

/** Only what is still open is filled in. */
function suggest(d: Draft, resources: Resources): Draft {
  const p: Partial<Placement> = {};
  if (!d.placement.serviceofferingid) p.serviceofferingid = suggestOffering(resources.serviceofferings, d.cpu, d.memoryMib)?.id;
  if (!d.placement.ostypeid) p.ostypeid = suggestOsType(resources.ostypes, d.guest)?.id;
  if (!d.placement.boottype) Object.assign(p, suggestBoot({ firmware: d.firmware, secure_boot: d.secureBoot }));
  for (const k of Object.keys(p) as (keyof Placement)[]) if (!p[k]) delete p[k];
  return setPlacement(d, p, true);
}

export function Editor({ drafts, resources }: { drafts: Draft[]; resources: Resources }) {
  const zones = common(drafts.map((d) => d.placement.zoneid));
  const ids = new Set(drafts.map((d) => d.moref));
  const part: Part = {
    drafts, resources, zone: typeof zones === "string" ? zones : undefined,
    change: (c) => changePlan((p) => changeDrafts(p, ids, c)),
  };
  return (
    <Card size="small" title={drafts.length === 1 ? drafts[0]!.name : `${drafts.length} VMs together`}
      extra={<Button size="small" onClick={() => part.change((d) => suggest(d, resources))}>Fill in suggestions</Button>}>
      <Tabs items={[
        { key: "place", label: "Placement", children: <PlacementPart {...part} /> },
        { key: "net", label: "Networks", children: <NetworksPart {...part} /> },
        { key: "disks", label: "Disks", children: <DisksPart {...part} /> },
        { key: "strategy", label: "Strategy", children: <StrategyPart {...part} /> },
      ]} />
    </Card>
  );
}
