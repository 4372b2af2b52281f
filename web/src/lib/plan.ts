// The plan: which VMs are to be migrated, and what was chosen for each. Pure functions; the store is in
// plan-store.ts. A choice that nobody made stays open, is named as a problem, and blocks the start.
import type { SpecVm, Vm } from "../api/types";
import { parseTime } from "./format";

export interface Placement {
  zoneid?: string;
  clusterid?: string;
  storageid?: string;
  serviceofferingid?: string;
  diskofferingid?: string;
  ostypeid?: string;
  boottype?: string;
  bootmode?: string;
  rootdiskcontroller?: string;
  nicadapter?: string;
  account?: string;
  domainid?: string;
  projectid?: string;
}

export interface Strategy {
  delta_interval?: number;
  finalize_at?: string;
  finalize_window?: number;
  finalize_delta_interval?: number;
  finalize_settle_seconds?: number;
  shutdown_mode?: string;
  snapshot_quiesce?: string;
  verify?: string;
  bandwidth_limit?: string;
  cutover_max_downtime?: number;
  on_failure?: string;
  readers?: number;
  parallel_disks?: number;
  run_virt_v2v?: boolean;
  start_vm_after_import?: boolean;
  import_method?: string;
}

export interface DraftDisk {
  key: number;
  address: string;
  label: string;
  bytes: number;
  boot: boolean;
  storageid?: string;
  diskofferingid?: string;
}

export interface DraftNic {
  key: number;
  label: string;
  mac: string;
  network: string | null;
  /** Chosen for this NIC alone; otherwise the map of port groups says it. */
  networkid?: string;
  ip?: string;
}

export interface Draft {
  moref: string;
  name: string;
  datacenter: string | null;
  guest: string;
  firmware: string;
  secureBoot: boolean;
  cpu: number;
  memoryMib: number;
  placement: Placement;
  strategy: Strategy;
  disks: DraftDisk[];
  nics: DraftNic[];
  /** What was filled in by a suggestion, and that nobody has changed since. */
  suggested: string[];
  /** What an imported file said beside what this page shows: it is kept as it is. */
  base?: SpecVm;
}

export interface Plan {
  version: 1;
  vcenter: string | null;
  cloudstack: string | null;
  wave: string;
  priority: number;
  notBefore: string | null;
  drafts: Draft[];
  /** Zone -> port group of the source -> network of CloudStack. */
  networkMap: Record<string, Record<string, string>>;
}

export const emptyPlan = (): Plan => ({
  version: 1,
  vcenter: null,
  cloudstack: null,
  wave: "",
  priority: 0,
  notBefore: null,
  drafts: [],
  networkMap: {},
});

export function draftOf(vm: Vm): Draft {
  return {
    moref: vm.moref,
    name: vm.name,
    datacenter: vm.datacenter ?? null,
    guest: vm.guest ?? "",
    firmware: vm.firmware ?? "",
    secureBoot: vm.secure_boot ?? false,
    cpu: vm.cpu,
    memoryMib: vm.memory_mib,
    placement: {},
    strategy: {},
    disks: vm.disks.map((d) => ({ key: d.key, address: d.address, label: d.label, bytes: d.bytes, boot: d.boot })),
    nics: vm.nics.map((n) => ({ key: n.key, label: n.label, mac: n.mac, network: n.network ?? null })),
    suggested: [],
  };
}

export function totalBytes(d: Draft): number {
  return d.disks.reduce((sum, disk) => sum + disk.bytes, 0);
}

// ---- networks ------------------------------------------------------------------------------------------

const portGroup = (network: string | null) => network ?? "";

export function networkOf(plan: Plan, draft: Draft, nic: DraftNic): string | undefined {
  if (nic.networkid) return nic.networkid;
  const zone = draft.placement.zoneid;
  return zone ? plan.networkMap[zone]?.[portGroup(nic.network)] : undefined;
}

export interface PortGroup {
  zone: string;
  network: string;
  nics: number;
  vms: number;
  /** NICs that have a network of their own, which the map does not reach. */
  overridden: number;
  target?: string;
}

/** One row for each zone and port group that the given drafts use. */
export function portGroups(plan: Plan, drafts: Draft[]): PortGroup[] {
  const rows = new Map<string, PortGroup & { seen: Set<string> }>();
  for (const d of drafts) {
    const zone = d.placement.zoneid;
    if (!zone) continue;
    for (const n of d.nics) {
      const network = portGroup(n.network);
      const key = JSON.stringify([zone, network]);
      let row = rows.get(key);
      if (!row) {
        row = { zone, network, nics: 0, vms: 0, overridden: 0, target: plan.networkMap[zone]?.[network], seen: new Set() };
        rows.set(key, row);
      }
      row.nics++;
      if (n.networkid) row.overridden++;
      row.seen.add(d.moref);
      row.vms = row.seen.size;
    }
  }
  return [...rows.values()]
    .map(({ seen: _, ...row }) => row)
    .sort((a, b) => a.zone.localeCompare(b.zone) || a.network.localeCompare(b.network));
}

export function mapNetwork(plan: Plan, zone: string, network: string, target: string | undefined): Plan {
  const ofZone = { ...plan.networkMap[zone] };
  if (target) ofZone[network] = target;
  else delete ofZone[network];
  return { ...plan, networkMap: { ...plan.networkMap, [zone]: ofZone } };
}

// ---- changes -------------------------------------------------------------------------------------------

/** What depends on the zone, and so cannot stay when it changes. */
const ZONAL: (keyof Placement)[] = ["clusterid", "storageid"];

function clean<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, v]) => v !== undefined && v !== "" && v !== null)) as T;
}

export function setPlacement(draft: Draft, change: Partial<Placement>, suggested = false): Draft {
  const next: Draft = { ...draft, placement: { ...draft.placement, ...change } };
  if ("zoneid" in change && change.zoneid !== draft.placement.zoneid) {
    for (const key of ZONAL) if (!(key in change)) delete next.placement[key];
    next.disks = draft.disks.map(({ storageid: _, ...disk }) => disk);
    next.nics = draft.nics.map(({ networkid: _, ...nic }) => nic);
  }
  if ("boottype" in change && change.boottype !== "UEFI") delete next.placement.bootmode;
  next.placement = clean(next.placement);
  const keys = Object.keys(change);
  next.suggested = draft.suggested.filter((k) => !keys.includes(k));
  if (suggested) next.suggested.push(...keys.filter((k) => k in next.placement));
  return next;
}

export function setStrategy(draft: Draft, change: Partial<Strategy>): Draft {
  return { ...draft, strategy: clean({ ...draft.strategy, ...change }) };
}

export function setDisk(draft: Draft, key: number, change: Partial<DraftDisk>): Draft {
  return { ...draft, disks: draft.disks.map((d) => (d.key === key ? clean({ ...d, ...change }) : d)) };
}

export function setNic(draft: Draft, key: number, change: Partial<DraftNic>): Draft {
  return {
    ...draft,
    nics: draft.nics.map((n) => (n.key === key ? { ...clean({ ...n, ...change }), network: n.network } : n)),
  };
}

export function changeDrafts(plan: Plan, morefs: ReadonlySet<string>, change: (d: Draft) => Draft): Plan {
  return { ...plan, drafts: plan.drafts.map((d) => (morefs.has(d.moref) ? change(d) : d)) };
}

/** The VMs that are added get a draft; what was chosen for the others stays. */
export function addVms(plan: Plan, vcenter: string, vms: Vm[]): Plan {
  const kept = plan.vcenter === vcenter ? plan.drafts : [];
  const have = new Set(kept.map((d) => d.moref));
  return { ...plan, vcenter, drafts: [...kept, ...vms.filter((v) => !have.has(v.moref)).map(draftOf)] };
}

export function removeVms(plan: Plan, morefs: ReadonlySet<string>): Plan {
  return { ...plan, drafts: plan.drafts.filter((d) => !morefs.has(d.moref)) };
}

/** What all of them say; "various" where they differ. */
export const VARIOUS = Symbol("various");
export function common<T>(values: T[]): T | undefined | typeof VARIOUS {
  if (values.length === 0) return undefined;
  return values.every((v) => v === values[0]) ? values[0] : VARIOUS;
}

// ---- validation ----------------------------------------------------------------------------------------

export interface Problem {
  field: string;
  text: string;
}

const REQUIRED: [keyof Placement, string][] = [
  ["zoneid", "no zone chosen"],
  ["clusterid", "no cluster chosen"],
  ["storageid", "no storage pool chosen"],
  ["serviceofferingid", "no service offering chosen"],
];

export function isIp(text: string): boolean {
  const v4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  return v4 !== null && v4.slice(1).every((p) => Number(p) <= 255 && String(Number(p)) === p);
}

export function problems(plan: Plan, d: Draft, now: Date = new Date()): Problem[] {
  const found: Problem[] = [];
  for (const [field, text] of REQUIRED) if (!d.placement[field]) found.push({ field, text });
  for (const disk of d.disks)
    if (!disk.boot && !disk.diskofferingid && !d.placement.diskofferingid)
      found.push({ field: `disk:${disk.key}`, text: `no disk offering for ${disk.label} (${disk.address})` });
  const used = new Map<string, string>();
  for (const nic of d.nics) {
    const network = networkOf(plan, d, nic);
    const field = `nic:${nic.key}`;
    if (!network) {
      found.push({ field, text: `no network for ${nic.label} (${nic.network ?? "not connected"})` });
      continue;
    }
    const other = used.get(network);
    if (other) found.push({ field, text: `${nic.label} has the same network as ${other}` });
    else used.set(network, nic.label);
    if (nic.ip && nic.ip !== "keep" && nic.ip !== "auto" && !isIp(nic.ip))
      found.push({ field, text: `${nic.label}: ${nic.ip} is no IPv4 address` });
  }
  if (d.nics.length === 0) found.push({ field: "nics", text: "it has no network adapter, and CloudStack needs one" });
  const at = d.strategy.finalize_at;
  if (at) {
    const when = parseTime(at);
    if (!when) found.push({ field: "finalize_at", text: `the cutover time ${at} cannot be read` });
    else if (when <= now) found.push({ field: "finalize_at", text: "the cutover time has passed" });
  }
  return found;
}

export function warnings(plan: Plan, d: Draft): string[] {
  const found: string[] = [];
  if (d.firmware === "efi" && d.placement.boottype !== "UEFI")
    found.push("the VM boots with UEFI; as BIOS it will not start");
  if (d.firmware === "bios" && d.placement.boottype === "UEFI")
    found.push("the VM boots with BIOS; as UEFI it will not start");
  if (!d.placement.ostypeid) found.push("no OS type chosen: CloudStack takes its default");
  if (d.nics.some((n) => n.ip && !networkOf(plan, d, n))) found.push("an address is set on a NIC without a network");
  return found;
}

type Thing = "zone" | "cluster" | "pool" | "offering" | "disk offering" | "OS type" | "network";
export type Known = Partial<Record<Thing, ReadonlySet<string>>>;

/** What cannot be meant as it stands: ids that the CloudStack does not have (any more). */
export function unknownIds(plan: Plan, d: Draft, known: Known): Problem[] {
  const found: Problem[] = [];
  const check = (field: string, what: keyof Known, id: string | undefined) => {
    if (id && known[what] && !known[what].has(id)) found.push({ field, text: `the ${what} ${id} is not in this CloudStack` });
  };
  check("zoneid", "zone", d.placement.zoneid);
  check("clusterid", "cluster", d.placement.clusterid);
  check("storageid", "pool", d.placement.storageid);
  check("serviceofferingid", "offering", d.placement.serviceofferingid);
  check("diskofferingid", "disk offering", d.placement.diskofferingid);
  check("ostypeid", "OS type", d.placement.ostypeid);
  for (const disk of d.disks) {
    check(`disk:${disk.key}`, "pool", disk.storageid);
    check(`disk:${disk.key}`, "disk offering", disk.diskofferingid);
  }
  for (const nic of d.nics) check(`nic:${nic.key}`, "network", networkOf(plan, d, nic));
  return found;
}

// ---- the spec ------------------------------------------------------------------------------------------

type Json = Record<string, unknown>;
const isObject = (v: unknown): v is Json => typeof v === "object" && v !== null && !Array.isArray(v);

function merge(base: Json, over: Json): Json {
  const out: Json = { ...base };
  for (const [k, v] of Object.entries(over)) {
    const old = out[k];
    out[k] = isObject(old) && isObject(v) ? merge(old, v) : v;
  }
  return out;
}

/** What this page decides about: of these keys the draft has the last word, absent ones included. */
const OWN_PLACEMENT: (keyof Placement)[] = [
  "zoneid", "clusterid", "storageid", "serviceofferingid", "diskofferingid", "ostypeid", "boottype", "bootmode",
  "rootdiskcontroller", "nicadapter", "account", "domainid", "projectid",
];
const OWN_STRATEGY: (keyof Strategy)[] = [
  "delta_interval", "finalize_at", "finalize_window", "finalize_delta_interval", "finalize_settle_seconds",
  "shutdown_mode", "snapshot_quiesce", "verify", "bandwidth_limit", "cutover_max_downtime", "on_failure", "readers",
  "parallel_disks", "run_virt_v2v", "start_vm_after_import", "import_method",
];

function without(source: unknown, keys: string[]): Json {
  if (!isObject(source)) return {};
  return Object.fromEntries(Object.entries(source).filter(([k]) => !keys.includes(k)));
}

export function specOf(plan: Plan, d: Draft): SpecVm {
  const nics: Json = {};
  d.nics.forEach((n, index) => {
    const networkid = networkOf(plan, d, n);
    if (!networkid) return;
    nics[String(n.key)] = clean({
      source_label: n.label,
      source_network: n.network ?? undefined,
      source_mac: n.mac,
      source_device_key: n.key,
      source_index: index,
      networkid,
      ip: n.ip,
    });
  });
  const disks: Json = {};
  for (const disk of d.disks) {
    if (disk.boot) continue;
    const own = clean({ storageid: disk.storageid, diskofferingid: disk.diskofferingid });
    if (Object.keys(own).length > 0) disks[String(disk.key)] = own;
  }
  const target = isObject(d.base?.target) ? d.base.target : {};
  const kept = without(target["cloudstack"], [...OWN_PLACEMENT, "nic_mappings", "networkid"]);
  const cloudstack = merge(kept, { ...d.placement, ...(Object.keys(nics).length > 0 ? { nic_mappings: nics } : {}) });
  const migration = merge(without(d.base?.migration, OWN_STRATEGY), { ...d.strategy });
  const spec: SpecVm = { vm: clean({ name: d.name, moref: d.moref, datacenter: d.datacenter ?? undefined }) };
  if (Object.keys(migration).length > 0) spec.migration = migration;
  spec.target = { ...target, cloudstack };
  if (Object.keys(disks).length > 0) spec.disks = disks;
  return spec;
}

/** A spec that was read from a file, laid onto the VM that it names. */
export function draftFromSpec(vm: Vm, spec: SpecVm): Draft {
  const draft = draftOf(vm);
  draft.base = spec;
  const target = isObject(spec.target) && isObject(spec.target["cloudstack"]) ? spec.target["cloudstack"] : {};
  const pick = (source: Json, keys: string[]) =>
    Object.fromEntries(Object.entries(source).filter(([k, v]) => keys.includes(k) && v !== "" && v !== null));
  draft.placement = pick(target, OWN_PLACEMENT) as Placement;
  if (isObject(spec.migration)) draft.strategy = pick(spec.migration, OWN_STRATEGY) as Strategy;
  if (isObject(spec.disks)) {
    for (const [name, value] of Object.entries(spec.disks)) {
      if (!isObject(value)) continue;
      const units = draft.disks.filter((x) => x.address.endsWith(`:${name}`));
      const disk =
        draft.disks.find((x) => String(x.key) === name || x.address === name) ??
        (units.length === 1 ? units[0] : undefined);
      if (disk) Object.assign(disk, pick(value, ["storageid", "diskofferingid"]));
    }
  }
  const mappings = isObject(target["nic_mappings"]) ? target["nic_mappings"] : {};
  for (const [key, value] of Object.entries(mappings)) {
    if (!isObject(value)) continue;
    const nic =
      draft.nics.find((n) => String(n.key) === key) ?? draft.nics.find((n) => n.label === value["source_label"]);
    if (nic) Object.assign(nic, pick(value, ["networkid", "ip"]));
  }
  const first = draft.nics[0];
  if (first && !first.networkid && typeof target["networkid"] === "string" && target["networkid"])
    first.networkid = target["networkid"];
  return draft;
}

/** VMs that a spec names: by moref, else by a name that only one has. */
export function findVm(vms: Vm[], want: { moref?: string; name?: string; uuid?: string; datacenter?: string }): Vm | string {
  if (want.moref) return vms.find((v) => v.moref === want.moref) ?? `no VM has the moref ${want.moref}`;
  if (want.uuid) return vms.find((v) => v.instance_uuid === want.uuid) ?? `no VM has the uuid ${want.uuid}`;
  if (!want.name) return "a row names no VM";
  const named = vms.filter((v) => v.name === want.name && (!want.datacenter || v.datacenter === want.datacenter));
  if (named.length === 0) return `no VM is named ${want.name}`;
  if (named.length > 1) return `${named.length} VMs are named ${want.name}: name the moref or the datacenter`;
  return named[0]!;
}

/** Drafts of imported specs take the place of those that the plan has of the same VMs. */
export function importDrafts(plan: Plan, vcenter: string, drafts: Draft[]): Plan {
  const kept = plan.vcenter === vcenter ? plan.drafts : [];
  const fresh = new Map(drafts.map((d) => [d.moref, d]));
  return {
    ...plan,
    vcenter,
    drafts: [...kept.filter((d) => !fresh.has(d.moref)), ...fresh.values()],
  };
}
