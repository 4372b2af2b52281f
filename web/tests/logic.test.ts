import { describe, expect, it } from "vitest";
import type { Job, Vm } from "../src/api/types";
import { importCsv, parseCsv } from "../src/lib/csv";
import * as f from "../src/lib/format";
import { addVms, changeDrafts, draftFromSpec, emptyPlan, findVm, mapNetwork, problems, setDisk, setPlacement, specOf } from "../src/lib/plan";
import { withProgress } from "../src/lib/progress";
import { suggestBoot, suggestOffering, suggestOsType } from "../src/lib/suggest";

const vm = (over: Partial<Vm> = {}): Vm => ({
  moref: "vm-1", name: "web01", datacenter: "DC1", power: "on", cpu: 2, memory_mib: 2048, snapshots: 0, findings: [],
  disks: [{ key: 2000, address: "scsi0:0", label: "Hard disk 1", bytes: 100, boot: true }, { key: 2001, address: "scsi0:1", label: "Hard disk 2", bytes: 50, boot: false }],
  nics: [{ key: 4000, label: "NIC 1", mac: "00:50:56:00:00:01", network: "prod" }, { key: 4001, label: "NIC 2", mac: "00:50:56:00:00:02", network: "backup" }],
  ...over,
});
const ready = () => {
  let p = addVms(emptyPlan(), "vc", [vm()]);
  p = changeDrafts(p, new Set(["vm-1"]), (d) => setPlacement(d, { zoneid: "z", clusterid: "c", storageid: "s", serviceofferingid: "o", diskofferingid: "d" }));
  return mapNetwork(mapNetwork(p, "z", "prod", "n1"), "z", "backup", "n2");
};

describe("formats", () => {
  it("moves to the next unit before it would write 1024.0", () => expect(f.bytes(1024 ** 2 - 1)).toBe("1.0 MiB"));
  it("never rounds up to done", () => expect(f.percent(99.99)).toBe("99.9 %"));
  it("writes a time with its zone", () => expect(f.rfc3339(new Date("2026-01-02T03:04:05Z"))).toMatch(/^2026-01-0\dT\d\d:\d\d:05[+-]\d\d:\d\d$/));
});

describe("suggestions", () => {
  const offerings = [{ id: "1", cpunumber: 1, memory: 1024 }, { id: "4", cpunumber: 4, memory: 8192 }, { id: "2", cpunumber: 2, memory: 2048 }, { id: "x", iscustomized: true }];
  it("takes the smallest offering that is large enough", () => expect(suggestOffering(offerings, 2, 2048)?.id).toBe("2"));
  it("suggests none when all are too small", () => expect(suggestOffering(offerings, 16, 2048)).toBeNull());
  const types = [{ id: "d11", description: "Debian GNU/Linux 11 (64-bit)" }, { id: "d12", description: "Debian GNU/Linux 12 (64-bit)" }, { id: "w", description: "Windows Server 2019 (64-bit)" }];
  it("finds the OS type of the same version", () => expect(suggestOsType(types, "Debian GNU/Linux 12 (64-bit)")?.id).toBe("d12"));
  it("suggests no other version", () => expect(suggestOsType(types, "Debian GNU/Linux 10 (64-bit)")).toBeNull());
  it("keeps UEFI with secure boot", () => expect(suggestBoot({ firmware: "efi", secure_boot: true })).toEqual({ boottype: "UEFI", bootmode: "Secure" }));
});

describe("plan", () => {
  it("chooses nothing by itself", () => {
    const p = addVms(emptyPlan(), "vc", [vm()]);
    expect(problems(p, p.drafts[0]!).map((x) => x.field)).toEqual(["zoneid", "clusterid", "storageid", "serviceofferingid", "disk:2001", "nic:4000", "nic:4001"]);
  });
  it("is ready when all is chosen", () => expect(problems(ready(), ready().drafts[0]!)).toEqual([]));
  it("refuses one network for two NICs", () => {
    const p = mapNetwork(ready(), "z", "backup", "n1");
    expect(problems(p, p.drafts[0]!)[0]?.text).toContain("same network");
  });
  it("forgets what belongs to another zone", () => {
    const d = setPlacement(ready().drafts[0]!, { zoneid: "z2" });
    expect([d.placement.clusterid, d.placement.storageid, d.placement.serviceofferingid]).toEqual([undefined, undefined, "o"]);
  });
  it("keeps what was chosen when VMs are added", () => expect(addVms(ready(), "vc", [vm(), vm({ moref: "vm-2" })]).drafts[0]!.placement.zoneid).toBe("z"));
  it("writes a spec with the keys of a spec file", () => {
    const p = changeDrafts(ready(), new Set(["vm-1"]), (d) => setDisk(d, 2001, { storageid: "s2" }));
    const s = specOf(p, p.drafts[0]!);
    expect(s.vm).toEqual({ name: "web01", moref: "vm-1", datacenter: "DC1" });
    expect(s.disks).toEqual({ "2001": { storageid: "s2" } });
    expect(JSON.stringify(s.target)).toContain('"4001":{"source_label":"NIC 2"');
  });
  it("keeps keys of an imported spec that it does not know", () => {
    const d = draftFromSpec(vm(), { vm: { name: "web01" }, migration: { vddk: { compression: "none" } }, target: { cloudstack: { zoneid: "z", templateid: "t" } } });
    const s = specOf(emptyPlan(), d);
    expect([s.migration, s.target]).toEqual([{ vddk: { compression: "none" } }, { cloudstack: { templateid: "t", zoneid: "z" } }]);
  });
  it("does not guess between VMs of one name", () => expect(findVm([vm(), vm({ moref: "vm-2" })], { name: "web01" })).toContain("2 VMs"));
});

describe("what the stream tells", () => {
  const job = (id: string, over: Partial<Job> = {}): Job => ({ id, kind: "migrate", state: "running", vm_name: id, created_at: "2026-01-01T00:00:00Z", progress: 1, ...over }) as Job;
  it("moves a job on, and leaves the rest of it", () => {
    const told = { id: "a", progress: 40, rate_bytes_per_s: 7, eta_s: 3 };
    expect(withProgress(job("a", { stage: "base_copy" }), told)).toMatchObject({ progress: 40, eta_s: 3, stage: "base_copy", state: "running" });
    const b = job("b");
    expect(withProgress(b, undefined)).toBe(b);
  });
});

describe("csv", () => {
  const none = { clusters: [], storage: [], serviceofferings: [], diskofferings: [], ostypes: [] };
  const resources = { ...none, zones: [{ id: "z", name: "North" }], networks: [{ id: "n1", name: "prod", zoneid: "z" }, { id: "n2", name: "backup", zoneid: "z" }] };
  it("reads quotes and line ends within them", () => expect(parseCsv('a,b\r\n"x ""y""\n,",2\r\n').rows[0]!.cells).toEqual(['x "y"\n,', "2"]));
  it("finds resources by name", () => {
    const r = importCsv("name,zone,network,wave\nweb01,north,prod|backup,w1\n", [vm()], resources);
    expect([r.errors, r.wave, r.drafts[0]!.nics.map((n) => n.networkid)]).toEqual([[], "w1", ["n1", "n2"]]);
  });
  it.each([["name,colour\nweb01,red\n", "unknown column"], ["name\nweb09\n", "no VM is named"], ["name,zone\nweb01,East\n", "there is no zone"], ["name\nweb01\nweb01\n", "in line 2 already"], ["", "empty"]])(
    "refuses %j", (text, why) => expect(importCsv(text, [vm()], resources).errors.join()).toContain(why));
});
