// What people read: sizes, rates, durations, times. All of it takes null for "not known".

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(n: number | null | undefined): string {
  if (n === null || n === undefined || !Number.isFinite(n)) return "–";
  let value = n;
  let unit = 0;
  // 1023.96 would be written as 1024.0: it belongs to the next unit.
  while (Math.abs(value) >= (unit === 0 ? 1024 : 1023.95) && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(value < 99.95 ? 1 : 0)} ${UNITS[unit]}`;
}

export function rate(n: number | null | undefined): string {
  return n === null || n === undefined || n <= 0 ? "–" : `${bytes(n)}/s`;
}

export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds) || seconds < 0) return "–";
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function milliseconds(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–";
  return ms < 1000 ? `${Math.round(ms)} ms` : duration(ms / 1000);
}

export function percent(p: number | null | undefined): string {
  if (p === null || p === undefined) return "–";
  // 99.96 is not done yet.
  const floored = Math.floor(p * 10) / 10;
  return floored >= 100 ? "100 %" : `${floored.toFixed(1)} %`;
}

const pad = (n: number) => String(n).padStart(2, "0");

/** Local time, with the day left out when it is today. */
export function time(iso: string | null | undefined, now: Date = new Date()): string {
  if (!iso) return "–";
  const d = new Date(iso);
  if (Number.isNaN(d.getTime())) return iso;
  const clock = `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`;
  return d.toDateString() === now.toDateString() ? clock : `${day(d)} ${clock}`;
}

export function day(d: Date): string {
  return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())}`;
}

/** RFC 3339 with the zone of this browser: a time without a zone is read as UTC by the engine. */
export function rfc3339(d: Date): string {
  const offset = -d.getTimezoneOffset();
  const sign = offset < 0 ? "-" : "+";
  const zone = `${sign}${pad(Math.floor(Math.abs(offset) / 60))}:${pad(Math.abs(offset) % 60)}`;
  return `${day(d)}T${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}${zone}`;
}

const STAGES: Record<string, string> = {
  not_started: "Not started",
  init: "Preparing",
  connecting_vcenter: "Connecting to vCenter",
  finding_vm: "Finding the VM",
  discovering_vmware_disks: "Reading its disks",
  preparing_target_storage: "Preparing storage",
  enabling_cbt: "Enabling CBT",
  creating_base_snapshot: "First snapshot",
  base_copy: "Base copy",
  delta: "Deltas",
  awaiting_shutdown_action: "Waiting for shutdown",
  final_sync: "Final sync",
  converting: "Converting",
  import_root_disk: "Importing VM",
  import_data_disk: "Importing data disks",
  done: "Done",
  rolled_back: "Rolled back",
};

export function stage(name: string | null | undefined): string {
  if (!name) return "–";
  return STAGES[name] ?? name.replaceAll("_", " ");
}

/** The stages of a migration as a person thinks of them, in order, with the engine's stages in each. */
export const STAGE_GROUPS: { title: string; stages: string[] }[] = [
  {
    title: "Prepare",
    stages: [
      "not_started", "init", "connecting_vcenter", "finding_vm", "discovering_vmware_disks",
      "preparing_target_storage", "enabling_cbt", "creating_base_snapshot",
    ],
  },
  { title: "Base copy", stages: ["base_copy"] },
  { title: "Deltas", stages: ["delta"] },
  { title: "Cutover", stages: ["awaiting_shutdown_action", "final_sync"] },
  { title: "Convert", stages: ["converting"] },
  { title: "Import", stages: ["import_root_disk", "import_data_disk"] },
  { title: "Done", stages: ["done"] },
];

export function stageIndex(name: string | null | undefined): number {
  return STAGE_GROUPS.findIndex((g) => g.stages.includes(name ?? "not_started"));
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}
