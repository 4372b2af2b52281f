// Logic of the pages without React: actions on many jobs, waves, the inventory, the review, what is read out.
import { describe, expect, it } from "vitest";
import type { Job, JobPage, Vm, Wave } from "../src/api/types";
import { allows, choicesOf, offerLabel, offersOf, runEach, wordOf } from "../src/lib/actions";
import { shownColumns } from "../src/lib/columns";
import type { Resources } from "../src/lib/csv";
import * as f from "../src/lib/format";
import { filterVms, flatTree, treeOf, type VmFilter } from "../src/lib/inventory";
import { announcement, patchPage } from "../src/lib/live";
import { addVms, changeDrafts, emptyPlan, mapNetwork, problems, setDisk, setPlacement, setStrategy, unknownIds } from "../src/lib/plan";
import { EMPTY, knownOf } from "../src/lib/resources";
import { reviewRow, strategyWords } from "../src/lib/review";
import { blockedBy, partsOf, progressText, waveProblems } from "../src/lib/waves";

const job = (id: string, over: Partial<Job> = {}): Job =>
  ({ id, kind: "migrate", state: "running", vm_name: `vm-${id}`, created_at: "2026-01-01T00:00:00Z", actions: ["pause", "cancel"], ...over });

const vm = (over: Partial<Vm> = {}): Vm => ({
  moref: "vm-1", name: "web01", datacenter: "DC1", cluster: "C1", host: "esx1", folder: "prod/web", power: "on", cpu: 4, memory_mib: 4096,
  snapshots: 0, findings: [], guest: "Debian",
  disks: [{ key: 2000, address: "scsi0:0", label: "Hard disk 1", bytes: 100, boot: true }, { key: 2001, address: "scsi0:1", label: "Hard disk 2", bytes: 50, boot: false }],
  nics: [{ key: 4000, label: "NIC 1", mac: "00:50:56:00:00:01", network: "prod", ip: "10.0.0.7" }],
  ...over,
});

describe("actions on many jobs", () => {
  const jobs = [job("1"), job("2", { actions: ["resume"] }), job("3", { state: "queued", actions: [] })];
  it("are offered with the number that allow them", () => {
    const offers = Object.fromEntries(offersOf(jobs).map((o) => [o.choice, offerLabel(o)]));
    expect(offers).toEqual({ pause: "Pause (1 of 3)", resume: "Resume (1 of 3)", plan: "Reschedule… (1 of 3)", cancel: "Cancel… (1 of 3)" });
  });
  it("name those that are left out", () => expect(offersOf(jobs).find((o) => o.choice === "pause")!.others.map((j) => j.id)).toEqual(["2", "3"]));
  it("say no number when all allow it", () => expect(offerLabel(offersOf([job("1"), job("2")])[0]!)).toBe("Pause"));
  it("want the number typed when they cannot be taken back", () => {
    expect([wordOf("cancel", jobs), wordOf("cancel", [jobs[0]!]), wordOf("pause", jobs)]).toEqual(["3", "vm-1", null]);
  });
  it("offer a cutover at once wherever a cutover is", () => expect(choicesOf(job("1", { actions: ["finalize"] }))).toEqual(["finalize", "finalize-now"]));
  it("forget only what is over", () => expect([allows(job("1"), "forget"), allows(job("1", { state: "failed" }), "forget")]).toEqual([false, true]));
  it("go on after one that fails, and say why", async () => {
    const done = await runEach(jobs, (j) => (j.id === "2" ? Promise.reject(new Error("no")) : Promise.resolve()), () => undefined, () => false, 1);
    expect(done.map((o) => [o.job.id, o.error, o.sent])).toEqual([["1", "", true], ["2", "no", true], ["3", "", true]]);
  });
  it("say of those that were not asked for any more that they were not", async () => {
    let count = 0;
    const done = await runEach(jobs, async () => void count++, () => undefined, () => count > 0, 1);
    expect(done.map((o) => o.sent)).toEqual([true, false, false]);
    expect(done[1]!.error).not.toBe("");
  });
  it("are never more at a time than they have lanes", async () => {
    let now = 0, most = 0;
    const act = async () => { most = Math.max(most, ++now); await new Promise((r) => setTimeout(r, 1)); now--; };
    await runEach(Array.from({ length: 20 }, (_, i) => job(String(i))), act, () => undefined, () => false, 3);
    expect(most).toBe(3);
  });
});

describe("waves", () => {
  const wave = (name: string, over: Partial<Wave> = {}): Wave => ({ name, jobs: {}, position: 0, ...over });
  const now = new Date("2026-06-01T00:00:00Z");
  it("tell how far they are", () => {
    const w = wave("a", { jobs: { completed: 2, failed: 1, stopped: 1, queued: 3 } });
    expect([progressText(w), partsOf(w).map((p) => p.count)]).toEqual(["2 of 7 jobs completed", [2, 2, 3]]);
    expect(progressText(wave("b"))).toBe("no jobs yet");
  });
  it("wait for those of a lower position that have not come to their deltas", () => {
    const all = [wave("a", { jobs: { queued: 1 } }), wave("b", { jobs: { waiting: 1 } }), wave("c", { position: 1 })];
    expect(blockedBy(all[2]!, all)).toEqual(["a"]);
  });
  it.each([
    ["", {}, "needs a name"], ["a", {}, "already"], ["ä".repeat(33), {}, "64 bytes"],
    ["n", { not_before: "2026-06-03T00:00:00Z", not_after: "2026-06-02T00:00:00Z" }, "ends before"], ["n", { not_after: "2026-05-01T00:00:00Z" }, "over"],
  ])("refuse %j %j", (name, input, why) => expect(waveProblems(name, input, [wave("a")], now).join()).toContain(why));
  it("accept a window", () => expect(waveProblems("n", { not_before: "2026-06-02T22:00:00+02:00", not_after: "2026-06-03T04:00:00+02:00" }, [], now)).toEqual([]));
});

describe("inventory", () => {
  const vms = [vm(), vm({ moref: "vm-2", name: "db01", host: "esx2", folder: null, findings: [{ level: "warning", code: "x", text: "y" }] }),
    vm({ moref: "vm-3", name: "old", cluster: null, datacenter: null, host: null, job: { id: "1", state: "completed" } })];
  const all: VmFilter = { text: "", hideMigrated: false, view: "hosts", place: "" };
  it("is a tree of hosts with counts", () => {
    expect(flatTree(treeOf(vms, "hosts")).map((o) => o.label.trim())).toEqual(["DC1 (2)", "C1 (2)", "esx1 (1)", "esx2 (1)", "no datacenter (1)", "no host (1)"]);
  });
  it("is a tree of folders", () => expect(flatTree(treeOf(vms, "folders")).map((o) => o.label.trim())).toEqual(["DC1 (2)", "prod (1)", "web (1)", "no datacenter (1)", "prod (1)", "web (1)"]));
  const found = (change: Partial<VmFilter>) => filterVms(vms, { ...all, ...change }).map((v) => v.name);
  it("is filtered by place", () => expect(found({ place: JSON.stringify(["DC1", "C1", "esx2"]) })).toEqual(["db01"]));
  it("does not take a place for the beginning of a name", () => expect(found({ place: JSON.stringify(["DC"]) })).toEqual([]));
  it("is searched by words, addresses included", () => expect([found({ text: "web 10.0.0.7" }), found({ text: "web nowhere" })]).toEqual([["web01", "old"], []]));
  it("is filtered by findings", () => expect([found({ findings: "clean" }), found({ findings: "warning" })]).toEqual([["web01", "old"], ["db01"]]));
  it("hides what is migrated", () => expect(found({ hideMigrated: true })).toEqual(["web01", "db01"]));
});

describe("review", () => {
  const resources: Resources = {
    ...EMPTY, zones: [{ id: "z", name: "North" }], clusters: [{ id: "c", name: "KVM" }], storage: [{ id: "s", name: "nfs" }, { id: "s2", name: "ssd" }],
    serviceofferings: [{ id: "o", name: "Small", cpunumber: 1, memory: 1024 }], diskofferings: [{ id: "d", name: "Custom" }], networks: [{ id: "n", name: "prod-net" }],
  };
  let plan = addVms(emptyPlan(), "vc", [vm()]);
  const only = new Set(["vm-1"]);
  plan = changeDrafts(plan, only, (d) => setPlacement(d, { zoneid: "z", clusterid: "c", storageid: "s", serviceofferingid: "o", diskofferingid: "d" }));
  plan = mapNetwork(changeDrafts(plan, only, (d) => setDisk(d, 2001, { storageid: "s2" })), "z", "prod", "n");
  it("has names, not ids", () => {
    const row = reviewRow(plan, plan.drafts[0]!, resources, []);
    expect([row.zone, row.cluster, row.offering, row.disks.map((k) => k.pool), row.nics[0]!.to]).toEqual(["North", "KVM", "Small", ["nfs", "ssd"], "prod-net"]);
  });
  it("warns of an offering that is too small", () => expect(reviewRow(plan, plan.drafts[0]!, resources, []).warnings.join()).toContain("smaller"));
  it("finds networks and pools of another CloudStack", () => {
    const known = knownOf({ ...resources, storage: [{ id: "s" }], networks: [{ id: "other" }] });
    expect(unknownIds(plan, plan.drafts[0]!, known).map((p) => p.field)).toEqual(["disk:2001", "nic:4000"]);
  });
  it("takes a list that is not there yet for no statement", () => expect(unknownIds(plan, plan.drafts[0]!, knownOf(EMPTY))).toEqual([]));
  it("refuses a cutover that has passed, also one without a zone, which is UTC", () => {
    const at = (text: string, now: string) => problems(plan, setStrategy(plan.drafts[0]!, { finalize_at: text }), new Date(now)).map((p) => p.field);
    expect(at("2026-01-01T12:00:00", "2026-01-01T12:00:01Z")).toEqual(["finalize_at"]);
    expect(at("2026-01-01T12:00:00", "2026-01-01T11:59:59Z")).toEqual([]);
    expect(at("2026-01-01T12:00:00+02:00", "2026-01-01T11:00:00Z")).toEqual(["finalize_at"]);
    expect(at("soon", "2026-01-01T11:00:00Z")).toEqual(["finalize_at"]);
  });
  it("says a strategy in words", () => expect(strategyWords({ verify: "full", run_virt_v2v: false, delta_interval: 60 })).toEqual(["deltas every 60 s", "verify full", "not converted"]));
});

describe("times", () => {
  it("reads a time without a zone as UTC", () => expect(f.parseTime("2026-01-31 22:30:00")?.toISOString()).toBe("2026-01-31T22:30:00.000Z"));
  it("reads an offset", () => expect(f.parseTime("2026-01-31T22:30:00+01:00")?.toISOString()).toBe("2026-01-31T21:30:00.000Z"));
  it("survives its own writing", () => expect(f.parseTime(f.rfc3339(new Date("2026-03-29T01:30:00Z")))?.toISOString()).toBe("2026-03-29T01:30:00.000Z"));
  it("says how long until then", () => expect(f.fromNow("2026-01-01T02:00:00Z", new Date("2026-01-01T00:00:00Z"))).toBe("in 2 h 0 min"));
});

describe("columns", () => {
  it("are all but those that are off, until somebody chooses", () => expect(shownColumns(null, ["a", "b", "c"], ["c"])).toEqual(["a", "b"]));
  it("forget names that are gone", () => expect(shownColumns(["b", "x"], ["a", "b"])).toEqual(["b"]));
});

describe("the stream", () => {
  const page: JobPage = { total: 2, items: [job("1"), job("2")] };
  it("changes only the rows it speaks of", () => {
    const next = patchPage(page, new Map([["2", { progress: 50 }]]));
    expect([next.items[0] === page.items[0], next.items[1]!.progress, next.items[1]!.vm_name]).toEqual([true, 50, "vm-2"]);
  });
  it("leaves a page alone that it does not concern", () => expect(patchPage(page, new Map([["9", { progress: 1 }]]))).toBe(page));
  it("reads out what changed, and a number when it is much", () => {
    expect(announcement([job("1", { state: "failed" }), job("2", { required_action: "shutdown_choice" })])).toBe("vm-1: failed. vm-2: needs your decision");
    expect(announcement(["1", "2", "3", "4"].map((i) => job(i)))).toBe("4 jobs have changed their state");
  });
});
