// Suggestions: what of a CloudStack fits a VM. Nothing here is applied without a person's word.

export interface Offering {
  id: string;
  name?: string;
  cpunumber?: number;
  memory?: number;
  iscustomized?: boolean;
  serviceofferingdetails?: Record<string, string>;
  [key: string]: unknown;
}

export interface OsType {
  id: string;
  description?: string;
  name?: string;
  [key: string]: unknown;
}

const number = (v: unknown): number | null => {
  const n = typeof v === "string" ? Number(v) : v;
  return typeof n === "number" && Number.isFinite(n) && n > 0 ? n : null;
};

/** How well an offering fits: 0 is exact, larger wastes more; null: it is too small or takes other sizes. */
export function offeringCost(o: Offering, cpu: number, memoryMib: number): number | null {
  if (o.iscustomized) return null;
  const cpus = number(o.cpunumber);
  const memory = number(o.memory);
  if (cpus === null || memory === null || cpus < cpu || memory < memoryMib) return null;
  return (cpus - cpu) / Math.max(cpu, 1) + (memory - memoryMib) / Math.max(memoryMib, 1);
}

/** The smallest offering that gives the VM at least what it has; with none, nothing. */
export function suggestOffering<T extends Offering>(offerings: T[], cpu: number, memoryMib: number): T | null {
  let best: T | null = null;
  let bestCost = Infinity;
  for (const o of offerings) {
    const cost = offeringCost(o, cpu, memoryMib);
    if (cost === null) continue;
    if (cost < bestCost || (cost === bestCost && (o.name ?? "") < (best?.name ?? ""))) {
      best = o;
      bestCost = cost;
    }
  }
  return best;
}

/** Whether what a person chose is smaller than the source. */
export function offeringTooSmall(o: Offering, cpu: number, memoryMib: number): boolean {
  const cpus = number(o.cpunumber);
  const memory = number(o.memory);
  return !o.iscustomized && ((cpus !== null && cpus < cpu) || (memory !== null && memory < memoryMib));
}

interface Words {
  family: string;
  version: number[] | null;
  bits: 32 | 64 | null;
}

const FAMILIES: [RegExp, string][] = [
  [/windows\s*server/i, "windows server"],
  [/windows/i, "windows"],
  [/red\s*hat|rhel/i, "rhel"],
  [/centos/i, "centos"],
  [/rocky/i, "rocky"],
  [/alma/i, "alma"],
  [/oracle/i, "oracle"],
  [/ubuntu/i, "ubuntu"],
  [/debian/i, "debian"],
  [/opensuse/i, "opensuse"],
  [/suse|sles/i, "sles"],
  [/fedora/i, "fedora"],
  [/freebsd/i, "freebsd"],
];

function words(text: string): Words | null {
  const family = FAMILIES.find(([re]) => re.test(text))?.[1];
  if (!family) return null;
  const bits = /64.?bit|x64|_64/i.test(text) ? 64 : /32.?bit|x86(?!_64)/i.test(text) ? 32 : null;
  const rest = text.replace(/\(?(32|64).?bit\)?|x86_64|x64/gi, "");
  const found = /(\d+(?:\.\d+)*)/.exec(rest);
  return { family, version: found ? found[1]!.split(".").map(Number) : null, bits };
}

/** Guest's full name as vCenter has it -> the OS type that says the same, or nothing. */
export function suggestOsType<T extends OsType>(types: T[], guest: string | undefined): T | null {
  if (!guest) return null;
  const want = words(guest);
  if (!want) return null;
  let best: T | null = null;
  let bestScore = 0;
  for (const t of types) {
    const have = words(t.description ?? t.name ?? "");
    if (!have || have.family !== want.family) continue;
    if (want.bits && have.bits && want.bits !== have.bits) continue;
    let score = 1 + (want.bits && want.bits === have.bits ? 1 : 0);
    if (want.version) {
      // Another major version is another system; "or later" and a missing minor are near enough.
      if (!have.version || have.version[0] !== want.version[0]) continue;
      score += 4 + (want.version[1] ?? 0 ? (have.version[1] === want.version[1] ? 2 : 0) : have.version[1] ? 0 : 2);
      if (want.family === "windows server" && /r2/i.test(guest) !== /r2/i.test(t.description ?? t.name ?? "")) continue;
    } else if (have.version) {
      continue;
    }
    if (score > bestScore) {
      best = t;
      bestScore = score;
    }
  }
  return best;
}

/** The firmware the VM has, in CloudStack's words. */
export function suggestBoot(vm: { firmware?: string; secure_boot?: boolean }): { boottype?: string; bootmode?: string } {
  if (vm.firmware === "efi") return { boottype: "UEFI", bootmode: vm.secure_boot ? "Secure" : "Legacy" };
  if (vm.firmware === "bios") return { boottype: "BIOS" };
  return {};
}
