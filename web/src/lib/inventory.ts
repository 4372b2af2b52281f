// The VMs of a vCenter as a table shows them: filtered, and as a tree of where they are.
import type { Vm } from "../api/types";

export type View = "hosts" | "folders";

export interface VmFilter {
  text: string;
  power?: string;
  findings?: string;
  hideMigrated: boolean;
  view: View;
  /** Key of a node of the tree; "": everywhere. */
  place: string;
}

export interface Place {
  key: string;
  title: string;
  count: number;
  children?: Place[];
}

export const sizeOf = (vm: Vm): number => vm.disks.reduce((n, d) => n + d.bytes, 0);
export const isMigrated = (vm: Vm): boolean => vm.job?.state === "completed";
export const speaksAgainst = (vm: Vm) => vm.findings.filter((f) => f.level !== "pass");

/** Where it is, from the data centre inwards. */
export function pathOf(vm: Vm, view: View): string[] {
  const dc = vm.datacenter || "no datacenter";
  if (view === "folders") return [dc, ...(vm.folder ?? "").split("/").filter(Boolean)];
  return [dc, ...(vm.cluster ? [vm.cluster] : []), vm.host || "no host"];
}

const keyOf = (path: string[]) => JSON.stringify(path);

/** A node for each place, with the number of VMs in and below it; sorted by name. */
export function treeOf(vms: Vm[], view: View): Place[] {
  const root: Place = { key: "", title: "", count: 0, children: [] };
  const nodes = new Map<string, Place>();
  for (const vm of vms) {
    const path = pathOf(vm, view);
    let above = root;
    for (let i = 1; i <= path.length; i++) {
      const key = keyOf(path.slice(0, i));
      let node = nodes.get(key);
      if (!node) {
        node = { key, title: path[i - 1]!, count: 0 };
        nodes.set(key, node);
        (above.children ??= []).push(node);
      }
      node.count++;
      above = node;
    }
  }
  const sort = (list: Place[] | undefined) => {
    list?.sort((a, b) => a.title.localeCompare(b.title, undefined, { numeric: true }));
    for (const n of list ?? []) sort(n.children);
  };
  sort(root.children);
  return root.children ?? [];
}

/** The tree as a list, for a screen without room for a tree. */
export function flatTree(places: Place[], depth = 0): { value: string; label: string }[] {
  return places.flatMap((p) => [
    { value: p.key, label: `${"\u00a0\u00a0".repeat(depth)}${p.title} (${p.count})` },
    ...flatTree(p.children ?? [], depth + 1),
  ]);
}

function isIn(vm: Vm, view: View, place: string): boolean {
  const wanted = JSON.parse(place) as string[];
  const path = pathOf(vm, view);
  return wanted.every((part, i) => path[i] === part);
}

export function filterVms(vms: Vm[], f: VmFilter): Vm[] {
  const words = f.text.toLowerCase().split(/\s+/).filter(Boolean);
  return vms.filter((v) => {
    const text = [v.name, v.moref, v.guest, v.host, v.cluster, v.folder, ...v.nics.map((n) => `${n.ip ?? ""} ${n.mac}`)]
      .join(" ").toLowerCase();
    if (!words.every((w) => text.includes(w))) return false;
    if (f.power && v.power !== f.power) return false;
    if (f.findings === "clean" && speaksAgainst(v).length > 0) return false;
    if (f.findings && f.findings !== "clean" && !v.findings.some((x) => x.level === f.findings)) return false;
    if (f.hideMigrated && isMigrated(v)) return false;
    return !f.place || isIn(v, f.view, f.place);
  });
}
