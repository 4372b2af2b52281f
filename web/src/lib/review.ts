// The plan as a table to be read before it is started: names instead of ids, one row a VM.
import type { Resource } from "../api/types";
import type { Resources } from "./csv";
import { minute, parseTime } from "./format";
import { type Draft, networkOf, type Plan, type Problem, type Strategy, warnings } from "./plan";
import { nameIn } from "./resources";
import { type Offering, offeringTooSmall } from "./suggest";

export interface ReviewRow {
  moref: string;
  name: string;
  zone: string | null;
  cluster: string | null;
  offering: string | null;
  osType: string | null;
  boot: string | null;
  disks: { key: number; label: string; bytes: number; pool: string | null; offering: string | null; own: boolean }[];
  nics: { key: number; label: string; mac: string; from: string; to: string | null; ip: string | null; own: boolean }[];
  strategy: string[];
  problems: string[];
  warnings: string[];
}

/** What a strategy says beside the engine's configuration, in a few words each. */
export function strategyWords(s: Strategy): string[] {
  const cutover = parseTime(s.finalize_at);
  const words: [unknown, string][] = [
    [s.finalize_at, `cutover ${cutover ? minute(cutover.toISOString()) : s.finalize_at}`],
    [s.finalize_window, `window ${s.finalize_window} s`],
    [s.delta_interval, `deltas every ${s.delta_interval} s`],
    [s.finalize_delta_interval, `in the window every ${s.finalize_delta_interval} s`],
    [s.shutdown_mode, `shutdown ${s.shutdown_mode}`],
    [s.snapshot_quiesce, `quiesce ${s.snapshot_quiesce}`],
    [s.verify, `verify ${s.verify}`],
    [s.bandwidth_limit, `at most ${s.bandwidth_limit}`],
    [s.cutover_max_downtime, `down ${s.cutover_max_downtime} s at most`],
    [s.finalize_settle_seconds, `pause ${s.finalize_settle_seconds} s after power-off`],
    [s.on_failure, `on failure ${s.on_failure}`],
    [s.readers, `${s.readers} connections a disk`],
    [s.parallel_disks, `${s.parallel_disks} disks at once`],
    [s.import_method, `import by ${s.import_method}`],
  ];
  const flags = [
    s.run_virt_v2v === true ? "converted" : s.run_virt_v2v === false ? "not converted" : "",
    s.start_vm_after_import === true ? "started after it" : s.start_vm_after_import === false ? "not started" : "",
  ];
  return [...words.filter(([v]) => v !== undefined).map(([, text]) => text), ...flags.filter(Boolean)];
}

export function reviewRow(plan: Plan, d: Draft, resources: Resources, found: Problem[]): ReviewRow {
  const p = d.placement;
  const chosen = resources.serviceofferings.find((o) => o.id === p.serviceofferingid) as (Resource & Offering) | undefined;
  const warned = warnings(plan, d);
  if (chosen && offeringTooSmall(chosen, d.cpu, d.memoryMib)) warned.push("the offering is smaller than the VM");
  return {
    moref: d.moref,
    name: d.name,
    zone: nameIn(resources.zones, p.zoneid),
    cluster: nameIn(resources.clusters, p.clusterid),
    offering: nameIn(resources.serviceofferings, p.serviceofferingid),
    osType: nameIn(resources.ostypes, p.ostypeid),
    boot: p.boottype ? `${p.boottype}${p.bootmode ? ` ${p.bootmode}` : ""}` : null,
    disks: d.disks.map((k) => ({
      key: k.key,
      label: k.label,
      bytes: k.bytes,
      pool: nameIn(resources.storage, k.storageid ?? p.storageid),
      offering: k.boot ? null : nameIn(resources.diskofferings, k.diskofferingid ?? p.diskofferingid),
      own: Boolean(k.storageid ?? k.diskofferingid),
    })),
    nics: d.nics.map((n) => ({
      key: n.key,
      label: n.label,
      mac: n.mac,
      from: n.network ?? "not connected",
      to: nameIn(resources.networks, networkOf(plan, d, n)),
      ip: n.ip ?? null,
      own: Boolean(n.networkid),
    })),
    strategy: strategyWords(d.strategy),
    problems: found.map((x) => x.text),
    warnings: warned,
  };
}
