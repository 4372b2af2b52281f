// What the mock shows: two environments of each kind, VMs, jobs that go on by themselves.
const GIB = 2 ** 30;
const iso = (ms) => new Date(ms).toISOString();
let seed = 7;
export const random = () => {
  seed = (seed * 1103515245 + 12345) % 2147483648;
  return seed / 2147483648;
};
const pick = (list) => list[Math.floor(random() * list.length)];

const GUESTS = [
  ["Ubuntu Linux (64-bit)", "ubuntu64Guest"],
  ["Debian GNU/Linux 12 (64-bit)", "debian12_64Guest"],
  ["Red Hat Enterprise Linux 9 (64-bit)", "rhel9_64Guest"],
  ["Microsoft Windows Server 2019 (64-bit)", "windows2019srv_64Guest"],
  ["Microsoft Windows Server 2022 (64-bit)", "windows2019srvNext_64Guest"],
];
const ROLES = ["web", "app", "db", "mail", "ldap", "build", "file", "proxy", "erp", "crm"];

export function makeVms(count) {
  const vms = [];
  for (let i = 0; i < count; i++) {
    const [guest, guest_id] = pick(GUESTS);
    const role = ROLES[i % ROLES.length];
    const name = `${role}${String(Math.floor(i / ROLES.length) + 1).padStart(2, "0")}`;
    const dc = i % 3 === 2 ? "DC-South" : "DC-North";
    const disks = [{ key: 2000, address: "scsi0:0", label: "Hard disk 1", bytes: (20 + (i % 5) * 20) * GIB, datastore: `ds-${i % 4}`, boot: true }];
    if (i % 3 === 0) disks.push({ key: 2001, address: "scsi0:1", label: "Hard disk 2", bytes: (50 + (i % 7) * 50) * GIB, datastore: `ds-${i % 4}`, boot: false });
    const nics = [{ key: 4000, label: "Network adapter 1", mac: `00:50:56:00:${(i >> 8).toString(16).padStart(2, "0")}:${(i & 255).toString(16).padStart(2, "0")}`, network: i % 4 === 3 ? "dmz-110" : "prod-100", ip: `10.1.${i >> 8}.${i & 255}` }];
    if (role === "db") nics.push({ key: 4001, label: "Network adapter 2", mac: `00:50:56:01:${(i >> 8).toString(16).padStart(2, "0")}:${(i & 255).toString(16).padStart(2, "0")}`, network: "backup-200", ip: null });
    const findings = [];
    const snapshots = i % 11 === 5 ? 2 : 0;
    if (snapshots) findings.push({ level: "warning", code: "W_SNAPSHOTS", text: "The VM has 2 snapshots", hint: "Consolidate them first: deltas of a long chain are slow." });
    if (i % 17 === 9) findings.push({ level: "failure", code: "E_DISK_INDEPENDENT", text: "Hard disk 1 is independent: snapshots do not cover it", hint: "Make it dependent while the VM is off." });
    const windows = guest.includes("Windows");
    vms.push({
      moref: `vm-${1000 + i}`, name, instance_uuid: `502c0000-0000-4000-8000-${String(i).padStart(12, "0")}`,
      datacenter: dc, cluster: `${dc}-C${(i % 2) + 1}`, folder: i % 7 === 0 ? null : `${["prod", "test"][i % 2]}/${role}`, host: `esx${(i % 6) + 1}.${dc.toLowerCase()}.example`, power: i % 9 === 4 ? "off" : "on", guest, guest_id,
      firmware: windows ? "efi" : i % 5 === 0 ? "efi" : "bios", secure_boot: windows, vtpm: false, template: false, tools: "toolsOk",
      cbt: i % 2 === 0, cpu: [1, 2, 4, 8][i % 4], memory_mib: [1024, 2048, 4096, 16384][i % 4], snapshots, disks, nics, findings, job: null,
    });
  }
  return vms.sort((a, b) => a.name.localeCompare(b.name));
}

const Z1 = "zone-1111", Z2 = "zone-2222";
export const resources = {
  zones: [{ id: Z1, name: "Zone North" }, { id: Z2, name: "Zone South" }],
  clusters: [{ id: "cl-1", name: "KVM North 1", zoneid: Z1 }, { id: "cl-2", name: "KVM North 2", zoneid: Z1 }, { id: "cl-3", name: "KVM South 1", zoneid: Z2 }],
  storage: [
    { id: "sp-1", name: "nfs-north-1", zoneid: Z1, type: "NetworkFilesystem", path: "/export/primary", clusterid: "cl-1" },
    { id: "sp-2", name: "nfs-north-zone", zoneid: Z1, type: "NetworkFilesystem", path: "/export/zone" },
    { id: "sp-3", name: "nfs-south-1", zoneid: Z2, type: "NetworkFilesystem", path: "/export/south" },
  ],
  networks: [
    { id: "net-1", name: "prod", zoneid: Z1, type: "L2" }, { id: "net-2", name: "dmz", zoneid: Z1, type: "Shared" },
    { id: "net-3", name: "backup", zoneid: Z1, type: "L2" }, { id: "net-4", name: "prod-south", zoneid: Z2, type: "L2" },
  ],
  diskofferings: [{ id: "do-1", name: "Custom thin", iscustomized: true }, { id: "do-2", name: "SSD", iscustomized: true }],
  serviceofferings: [
    { id: "so-1", name: "Small 1x1", cpunumber: 1, memory: 1024 }, { id: "so-2", name: "Medium 2x2", cpunumber: 2, memory: 2048 },
    { id: "so-3", name: "Large 4x8", cpunumber: 4, memory: 8192 }, { id: "so-4", name: "Huge 8x16", cpunumber: 8, memory: 16384 },
    { id: "so-5", name: "Custom", iscustomized: true },
  ],
  ostypes: [
    { id: "os-1", description: "Ubuntu 22.04 LTS" }, { id: "os-2", description: "Debian GNU/Linux 12 (64-bit)" },
    { id: "os-3", description: "Red Hat Enterprise Linux 9.0" }, { id: "os-4", description: "Windows Server 2019 (64-bit)" },
    { id: "os-5", description: "Windows Server 2022 (64-bit)" }, { id: "os-6", description: "Other Linux (64-bit)" },
  ],
};

export const STAGES = ["init", "discovering_vmware_disks", "preparing_target_storage", "enabling_cbt", "creating_base_snapshot", "base_copy", "delta", "final_sync", "converting", "import_root_disk", "import_data_disk", "done"];
const nextStage = (s) => STAGES[STAGES.indexOf(s) + 1] ?? "none";
let jobNumber = 0;

export function makeJob(vm, over = {}, spec = null) {
  const now = Date.now();
  jobNumber++;
  const disks = (vm?.disks ?? []).map((d, i) => ({
    key: String(d.key), name: `Disk ${i + 1}`, address: d.address, bytes: d.bytes, boot: d.boot, path: `/mnt/sp-1/${vm.moref}_disk${i}.qcow2`,
    stage: "waiting", planned_bytes: Math.round(d.bytes * 0.6), read_bytes: 0, written_bytes: 0, zero_bytes: 0, rate_bytes_per_s: 0, eta_s: null,
    progress: 0, base_copied: false, delta_rounds: 0, verified_bytes: 0, mismatched_blocks: 0,
  }));
  const job = {
    id: `${now}${String(jobNumber).padStart(6, "0")}`, kind: "migrate", state: "queued", vm_name: vm?.name ?? "3 VMs", vm_moref: vm?.moref ?? null,
    vcenter: "vc-1", cloudstack: "cs-1", wave: null, priority: 0, created_at: iso(now), created_by: "admin", not_before: null, started_at: null,
    finished_at: null, retry_of: null, waits_for: null, error: null, stage: null, next_stage: null, progress: 0, rate_bytes_per_s: 0, eta_s: null,
    total_bytes: disks.reduce((n, d) => n + d.bytes, 0), delta_rounds: 0, last_delta_bytes: null, predicted_downtime_ms: null, finalize_requested: false,
    finalize_now_requested: false, paused: false, waits_for_space: null, required_action: null, shutdown_reason: null, cloudstack_vm_id: null, actions: [],
    ...over,
    get disk_progress() { return disks.map((d) => ({ name: d.name, stage: d.stage, progress: d.progress })); },
  };
  const all = { job, disks, rounds: [], events: [], log: [], findings: [], throughput: [], spec: spec ?? `vm:\n  moref: ${job.vm_moref}\n` };
  event(all, "state", "queued");
  setActions(job);
  return all;
}

export function event(all, kind, text) {
  all.events.push({ id: all.events.length + 1, at: iso(Date.now()), kind, text });
  all.log.push(`[${new Date().toISOString().slice(0, 19).replace("T", " ")}] ${kind}: ${text}`);
}

export function setActions(job) {
  const a = [];
  if (job.kind === "migrate") {
    if (job.state === "queued") a.push("stop", "cancel");
    if (job.state === "running") {
      a.push(job.paused ? "resume" : "pause", "stop", "cancel", "bandwidth");
      if (job.stage === "base_copy" && !job.finalize_requested) a.push("finalize");
    }
    if (job.state === "waiting") {
      if (job.required_action) a.push("shutdown");
      else if (!job.finalize_requested) a.push("finalize");
      a.push("stop", "cancel", "rehearse", "bandwidth");
    }
    if (["failed", "stopped"].includes(job.state)) a.push("retry", "cancel");
    if (job.state === "completed") a.push("rollback");
  }
  job.actions = a;
}

export function setState(all, state, more = {}) {
  const { job } = all;
  Object.assign(job, { state, ...more });
  if (state === "running" && !job.started_at) job.started_at = iso(Date.now());
  if (["completed", "failed", "stopped", "cancelled"].includes(state)) Object.assign(job, { finished_at: iso(Date.now()), rate_bytes_per_s: 0, eta_s: null });
  event(all, "state", state);
  setActions(job);
}

function setStage(all, stage) {
  all.job.stage = stage;
  all.job.next_stage = nextStage(stage);
  event(all, "stage", stage);
  setActions(all.job);
}

/** One step of time of a running or waiting job. */
export function step(all, rateOf) {
  const { job, disks } = all;
  if (job.paused) return Object.assign(job, { rate_bytes_per_s: 0 });
  if (job.kind !== "migrate") {
    job.progress = Math.min(100, job.progress + 34);
    if (job.progress >= 100) {
      if (job.kind === "check") all.findings.push(
        { level: "pass", code: "C_VCENTER", text: "vCenter answers and the account may take snapshots", vm: null },
        { level: "warning", code: "W_TOOLS", text: "VMware Tools are old", hint: "The shutdown may take longer.", vm: job.vm_name });
      setState(all, "completed");
    }
    return undefined;
  }
  switch (job.stage) {
    case null: setStage(all, "init"); break;
    case "base_copy": case "final_sync": {
      let rate = 0;
      const share = job.stage === "base_copy" ? rateOf(job) : Infinity;
      for (const d of disks) {
        const left = d.planned_bytes - d.read_bytes;
        const now = Math.min(left, share / disks.length);
        d.read_bytes += now; d.written_bytes += Math.round(now * 0.9); d.zero_bytes += Math.round(now * 0.1); d.rate_bytes_per_s = Math.round(now);
        d.read_bytes = Math.round(d.read_bytes); d.progress = Math.min(100, (100 * d.read_bytes) / d.planned_bytes);
        d.eta_s = now > 0 ? Math.round((d.planned_bytes - d.read_bytes) / now) : null; d.stage = job.stage; d.base_copied = d.read_bytes >= d.planned_bytes;
        rate += now;
      }
      const planned = disks.reduce((n, d) => n + d.planned_bytes, 0), read = disks.reduce((n, d) => n + d.read_bytes, 0);
      Object.assign(job, { rate_bytes_per_s: Math.round(rate), progress: Math.min(100, (100 * read) / planned), eta_s: rate > 0 ? Math.round((planned - read) / rate) : null });
      all.throughput.push({ at: iso(Date.now()), bytes_per_s: Math.round(rate) });
      if (read >= planned) {
        if (job.stage === "base_copy") { setStage(all, "delta"); setState(all, "waiting"); all.next = Date.now() + 1500; }
        else setStage(all, "converting");
      }
      break;
    }
    case "delta":
      if (job.finalize_requested) {
        if (job.vm_name.startsWith("ldap") && !all.chosen) {
          Object.assign(job, { stage: "awaiting_shutdown_action", required_action: "shutdown_choice", shutdown_reason: "The guest did not shut down within 300 s" });
          setState(all, "waiting");
          break;
        }
        setState(all, "running"); setStage(all, "final_sync");
      } else if (Date.now() > (all.next ?? 0)) {
        const changed = Math.round((200 + random() * 400) * 2 ** 20 / (1 + job.delta_rounds / 3));
        job.delta_rounds++; job.last_delta_bytes = changed; job.rate_bytes_per_s = 0; job.eta_s = null;
        const copy_ms = Math.round(changed / 110e3);
        all.rounds.push({ number: job.delta_rounds, began_at: iso(Date.now()), changed_bytes: changed, copy_ms, total_ms: copy_ms + 4200 });
        job.predicted_downtime_ms = copy_ms + 61000;
        for (const d of disks) d.delta_rounds = job.delta_rounds;
        event(all, "round", `delta ${job.delta_rounds}: ${changed} bytes`);
        all.next = Date.now() + 4000;
      }
      break;
    case "awaiting_shutdown_action":
      if (all.chosen) { Object.assign(job, { required_action: null, shutdown_reason: null }); setState(all, "running"); setStage(all, "final_sync"); }
      break;
    case "import_data_disk":
      job.cloudstack_vm_id = `i-2-${jobNumber}-VM`; job.stage = "done"; job.next_stage = "none"; job.progress = 100; setState(all, "completed");
      break;
    default: setStage(all, nextStage(job.stage)); break;
  }
  return undefined;
}
