// A stand-in for the service: the contract in memory, for work on the page and for its browser tests.
//   node mock/server.mjs [--port N] [--jobs N] [--vms N] [--empty] [--tick MS]
// Users admin, operator, viewer with the password "mock-password". Each answer is checked against the
// contract: one that breaks it is a 500 and a line on standard error.
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { parse, stringify } from "yaml";
import { checkAnswer, checkRequest, find } from "./contract.mjs";
import { event, makeJob, makeVms, random, resources, setActions, setState, STAGES, step } from "./world.mjs";

const { values: opt } = parseArgs({ options: {
  port: { type: "string", default: "8000" }, jobs: { type: "string", default: "0" }, vms: { type: "string", default: "120" },
  empty: { type: "boolean", default: false }, tick: { type: "string", default: "1000" },
} });
const dist = fileURLToPath(new URL("../dist", import.meta.url));
const iso = () => new Date().toISOString();
const ORDER = { viewer: 0, operator: 1, admin: 2 };

const users = new Map(["admin", "operator", "viewer"].map((n) => [n, { name: n, role: n, created_at: iso(), password: "mock-password" }]));
const sessions = new Map();
const tokens = [];
const audit = [];
const waves = new Map();
const settings = { max_workers: 4, max_per_vcenter: 0, max_per_host: 2, max_per_pool: 4, bandwidth: "" };
const environments = opt.empty ? [] : [
  { id: "vc-1", kind: "vcenter", name: "vCenter North", address: "vc.example", user: "migrate@vsphere.local", thumbprint: null, insecure: false, source: "config" },
  { id: "cs-1", kind: "cloudstack", name: "CloudStack", address: "https://cloud.example/client/api", user: null, thumbprint: null, insecure: false, source: "saved" },
];
const vms = makeVms(Number(opt.vms));
const jobs = new Map();
const streams = new Set();
const history = [];
let eventId = 0;
let broken = false;
let environmentNumber = 1;
const violations = [];

class Refusal extends Error {
  constructor(status, detail, more = {}) { super(detail); this.status = status; this.body = { detail, ...more }; }
}

function publish(name, data) {
  eventId++;
  const text = `id: ${eventId}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
  history.push(text);
  if (history.length > 500) history.shift();
  for (const s of streams) s.write(text);
}

function add(all) {
  jobs.set(all.job.id, all);
  if (all.job.vm_moref && all.job.kind === "migrate") {
    const vm = vms.find((v) => v.moref === all.job.vm_moref);
    if (vm) vm.ref = all;
  }
  publish("job", all.job);
  return all.job;
}

// As the service does it: a job that changed as a whole, the progress of all together.
const told = new Map();
const look = (j) => JSON.stringify([j.state, j.stage, j.delta_rounds, j.paused, j.waits_for, j.required_action, j.finalize_requested]);
function tell(job) {
  if (told.get(job.id) === look(job)) return;
  told.set(job.id, look(job));
  publish("job", job);
}
setInterval(() => {
  const list = [...jobs.values()].map((a) => a.job).filter((j) => j.state === "running");
  if (list.length) publish("progress", list.map((j) => ({ id: j.id, progress: j.progress, rate_bytes_per_s: j.rate_bytes_per_s, eta_s: j.eta_s })));
}, 2000).unref();

function tick() {
  let running = [...jobs.values()].filter((a) => a.job.state === "running").length;
  for (const all of jobs.values()) {
    const { job } = all;
    if (job.state === "queued") {
      if (job.not_before && Date.parse(job.not_before) > Date.now()) job.waits_for = `it is to begin at ${job.not_before.slice(0, 16)}Z`;
      else if (running >= settings.max_workers) job.waits_for = `${settings.max_workers} jobs run at once`;
      else { job.waits_for = null; running++; setState(all, "running"); }
      tell(job);
    } else if (job.state === "running" || job.state === "waiting") {
      step(all, () => (120 + random() * 60) * 2 ** 20 * (Number(opt.tick) < 500 ? 60 : 4));
      tell(job);
    }
  }
}
setInterval(tick, Number(opt.tick)).unref();

function seedJobs(n) {
  for (let i = 0; i < n; i++) {
    const vm = vms[i % vms.length];
    const all = makeJob(vm, { wave: i % 3 === 0 ? "wave-1" : null, created_at: new Date(Date.now() - i * 60000).toISOString() });
    add(all);
    const kind = i % 8;
    if (kind === 0) { setState(all, "running"); all.job.stage = "base_copy"; for (const d of all.disks) { d.read_bytes = Math.round(d.planned_bytes * random() * 0.5); d.progress = (100 * d.read_bytes) / d.planned_bytes; } }
    else if (kind === 1 || kind === 2) { all.job.stage = "delta"; all.job.progress = 100; for (const d of all.disks) d.progress = 100; setState(all, "waiting"); }
    else if (kind === 3) { all.job.stage = "base_copy"; setState(all, "failed", { error: { detail: "vCenter does not answer: connection refused", code: "E_VC_CONNECT", hint: "Check that port 443 of vCenter can be reached, then retry." }, progress: 41.3 }); }
    else if (kind === 4) { Object.assign(all.job, { stage: "done", progress: 100, cloudstack_vm_id: `vm-${i}`, delta_rounds: 4, last_delta_bytes: 12e6 }); setState(all, "completed"); }
    else if (kind === 5) { Object.assign(all.job, { stage: "awaiting_shutdown_action", required_action: "shutdown_choice", shutdown_reason: "The guest did not shut down within 300 s" }); setState(all, "waiting"); }
    else if (kind === 6) all.job.not_before = new Date(Date.now() + 6 * 3600e3).toISOString();
    setActions(all.job);
  }
  if (!n) return;
  waves.set("wave-1", { not_before: null, not_after: null, concurrency: 4, position: 1 });
  waves.set("wave-2 night", { not_before: new Date(Date.now() + 8 * 3600e3).toISOString(), not_after: new Date(Date.now() + 14 * 3600e3).toISOString(), concurrency: 0, position: 2 });
  for (const [i, a] of [...jobs.values()].entries()) if (i % 6 === 5 && a.job.state === "queued") a.job.wave = "wave-2 night";
}
seedJobs(Number(opt.jobs));

const count = (list) => list.reduce((o, a) => ({ ...o, [a.job.state]: (o[a.job.state] ?? 0) + 1 }), {});
const job = (id) => jobs.get(id) ?? (() => { throw new Refusal(404, `there is no job ${id}`, { code: "E_API_NOT_FOUND" }); })();
const shownVm = ({ ref, ...vm }) => ({ ...vm, job: ref ? { id: ref.job.id, state: ref.job.state, stage: ref.job.stage } : null });
const wave = (name, w) => ({ ...w, name, jobs: count([...jobs.values()].filter((a) => a.job.wave === name)) });

function render(input) {
  const list = input.vms ?? (() => { try { const y = parse(input.yaml); return y.vms ?? [y]; } catch (e) { throw new Refusal(400, `the YAML cannot be read: ${e.message.split("\n")[0]}`, { code: "E_SPEC" }); } })();
  const problems = [];
  for (const s of list) for (const key of ["zoneid", "clusterid", "storageid", "serviceofferingid"])
    if (!s.target?.cloudstack?.[key]) problems.push(`${s.vm?.name ?? s.vm?.moref}: target.cloudstack.${key} is missing`);
  return { yaml: stringify(list.length === 1 ? list[0] : { vms: list }), problems, warnings: [], vms: list };
}

function act(all, action, input) {
  const j = all.job;
  if (!j.actions.includes(action)) throw new Refusal(409, `${action} is not possible while the job is ${j.state}`, { code: "E_JOB_STATE" });
  const vm = vms.find((v) => v.moref === j.vm_moref);
  event(all, "action", action);
  switch (action) {
    case "finalize": Object.assign(j, { finalize_requested: true, finalize_now_requested: input.now ?? false }); break;
    case "pause": j.paused = true; break;
    case "resume": j.paused = false; break;
    case "stop": setState(all, "stopped"); break;
    case "shutdown": all.chosen = input.choice; break;
    case "retry": return add(makeJob(vm, { retry_of: j.id, stage: j.stage === "base_copy" ? "base_copy" : null }));
    case "cancel": setState(all, "cancelled"); return add(makeJob(vm, { kind: "cancel" }));
    case "rollback": j.actions = []; return add(makeJob(vm, { kind: "rollback" }));
    case "rehearse": return add(makeJob(vm, { kind: "rehearse" }));
    default: break;
  }
  setActions(j);
  publish("job", j);
  return j;
}

const ops = {
  getHealth: () => ({ status: "ok" }),
  login: ({ body }, ctx) => {
    const u = users.get(body.user);
    if (!u || u.password !== body.password) throw new Refusal(401, "user or password is wrong", { code: "E_API_LOGIN" });
    const id = Math.random().toString(36).slice(2);
    sessions.set(id, { user: u.name, csrf: Math.random().toString(36).slice(2) });
    ctx.res.setHeader("Set-Cookie", `v2c_session=${id}; HttpOnly; SameSite=Strict; Path=/`);
    return { user: u.name, role: u.role, csrf: sessions.get(id).csrf };
  },
  logout: (_, ctx) => { sessions.delete(ctx.session); },
  getMe: (_, { me, csrf }) => ({ user: me.name, role: me.role, csrf }),
  setPassword: ({ body }, { me }) => { if (me.password !== body.old) throw new Refusal(400, "the old password is wrong"); me.password = body.new; for (const [k, s] of sessions) if (s.user === me.name) sessions.delete(k); },
  getAbout: () => ({ version: "1.2.3-mock", control_dir: "/var/lib/vm-migrator", libraries: [{ name: "libcurl", version: "7.88.1", licence: "curl" }, { name: "SQLite", version: "3.40.1", licence: "public domain" }] }),
  listUsers: () => [...users.values()].map(({ password: _, ...u }) => u),
  createUser: ({ body }) => { if (users.has(body.name)) throw new Refusal(409, `there is a user ${body.name}`); const u = { name: body.name, role: body.role, created_at: iso() }; users.set(u.name, { ...u, password: body.password }); return u; },
  changeUser: ({ body, params }) => { const u = users.get(params.name); Object.assign(u, body); const { password: _, ...shown } = u; return shown; },
  deleteUser: ({ params }) => { users.delete(params.name); },
  listTokens: () => tokens.map(({ token: _, ...t }) => t),
  createToken: ({ body }, { me }) => { const t = { id: String(tokens.length + 1), name: body.name, user: me.name, role: body.role, created_at: iso(), last_used_at: null, token: `v2c_${Math.random().toString(36).slice(2)}` }; tokens.push(t); return t; },
  deleteToken: ({ params }) => { tokens.splice(tokens.findIndex((t) => t.id === params.id), 1); },
  getSettings: () => settings,
  putSettings: ({ body }) => Object.assign(settings, body),
  listAudit: ({ query }) => ({ total: audit.length, items: audit.slice(Number(query.offset ?? 0), Number(query.offset ?? 0) + Number(query.limit ?? 50)) }),
  listEnvironments: () => environments,
  testEnvironment: ({ body }) => {
    if (body.address.includes("untrusted") && !body.thumbprint && !body.insecure) return { ok: false, thumbprint: "AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89", error: { detail: "the certificate of untrusted.example is not signed by an authority that this machine trusts", code: "E_TLS_UNTRUSTED", hint: "Accept it if its fingerprint is the right one." } };
    if (body.address.includes("wrong")) return { ok: false, error: { detail: "wrong.example does not answer: connection refused", code: "E_CONNECT", hint: "Check the address." } };
    return { ok: true, server: body.kind === "vcenter" ? "VMware vCenter Server 8.0.2" : "CloudStack 4.19.1" };
  },
  createEnvironment: ({ body }) => { const { password: _p, api_key: _k, secret_key: _s, ...e } = body; const made = { user: null, thumbprint: null, insecure: false, ...e, id: `env-${++environmentNumber}`, source: "saved" }; environments.push(made); return made; },
  changeEnvironment: ({ body, params }) => { const e = environments.find((x) => x.id === params.id); const { password: _p, api_key: _k, secret_key: _s, id: _i, ...rest } = body; return Object.assign(e, rest); },
  deleteEnvironment: ({ params }) => { environments.splice(environments.findIndex((e) => e.id === params.id), 1); },
  listVms: ({ params }) => { if (!environments.some((e) => e.id === params.id)) throw new Refusal(404, "there is no such environment"); return vms.map(shownVm); },
  listResources: ({ params, query }) => resources[params.what].filter((r) => !query.zoneid || !r.zoneid || r.zoneid === query.zoneid),
  renderSpecs: ({ body }) => render(body),
  listJobs: ({ query }) => {
    let list = [...jobs.values()].map((a) => a.job);
    const states = (query.state ?? "").split(",").filter(Boolean).flatMap((s) => (s === "active" ? ["queued", "running", "waiting"] : [s]));
    if (states.length) list = list.filter((j) => states.includes(j.state));
    if (query.kind) list = list.filter((j) => j.kind === query.kind);
    if (query.wave) list = list.filter((j) => j.wave === query.wave);
    if (query.q) list = list.filter((j) => j.vm_name.includes(query.q) || j.vm_moref === query.q);
    const key = { created: "created_at", vm: "vm_name", state: "state", priority: "priority" }[query.sort ?? "created"];
    list.sort((a, b) => (a[key] < b[key] ? -1 : a[key] > b[key] ? 1 : 0));
    if ((query.order ?? "desc") === "desc") list.reverse();
    if (query.latest_per_vm === "true") { const seen = new Set(); list = list.filter((j) => !j.vm_moref || (!seen.has(j.vm_moref) && seen.add(j.vm_moref))); }
    const offset = Number(query.offset ?? 0);
    return { total: list.length, items: list.slice(offset, offset + Number(query.limit ?? 50)) };
  },
  createJobs: ({ body }) => {
    const { vms: specs, problems } = render(body);
    if (problems.length) throw new Refusal(400, problems.join("; "), { code: "E_SPEC" });
    const over = { kind: body.kind ?? "migrate", wave: body.wave ?? null, priority: body.priority ?? 0, not_before: body.not_before ?? null, vcenter: body.vcenter, cloudstack: body.cloudstack };
    if (over.kind === "check") return [add(makeJob(null, { ...over, vm_name: specs.length === 1 ? specs[0].vm.name : `${specs.length} VMs` }))];
    const found = specs.map((s) => vms.find((v) => v.moref === s.vm.moref || v.name === s.vm.name));
    const busy = found.find((v) => v.ref && ["queued", "running", "waiting"].includes(v.ref.job.state));
    if (busy) throw new Refusal(409, `${busy.name} has a job already`, { code: "E_JOB_EXISTS" });
    if (over.wave && !waves.has(over.wave)) waves.set(over.wave, { not_before: null, not_after: null, concurrency: 0, position: 0 });
    return found.map((v, i) => add(makeJob(v, over, stringify(specs[i]))));
  },
  getJob: ({ params }) => {
    const a = job(params.id);
    const p = a.job.predicted_downtime_ms;
    return { ...a.job, disks: a.disks, rounds: a.rounds, spec: a.spec, directory: `/var/lib/vm-migrator/${a.job.vm_moref}`, throughput: a.throughput, downtime: p ? { total_ms: p, total_now_ms: p + 9000, shutdown_ms: 20000, settle_ms: 15000, sync_ms: p - 61000, import_ms: 12000, convert_ms: 14000, max_ms: null, hopeless: false } : null };
  },
  changeJob: ({ params, body }) => {
    const { job: j } = job(params.id);
    if (j.state !== "queued") throw new Refusal(409, `the job is ${j.state}: only a queued one is rescheduled`, { code: "E_JOB_STATE" });
    return Object.assign(j, body);
  },
  deleteJob: ({ params }) => { job(params.id); jobs.delete(params.id); publish("gone", { id: params.id }); },
  actOnJob: ({ params, body }) => act(job(params.id), params.action, body ?? {}),
  getJobLog: ({ params, query }) => job(params.id).log.slice(query.download === "true" ? 0 : -Number(query.lines ?? 300)).join("\n") + "\n",
  listJobEvents: ({ params }) => job(params.id).events,
  getJobReport: ({ params }) => { const a = job(params.id); return { job: a.job, findings: a.findings, summary: { downtime_ms: a.job.state === "completed" && a.job.kind === "migrate" ? 83000 : null, copied_bytes: a.disks.reduce((n, d) => n + d.read_bytes, 0), verified_bytes: a.job.state === "completed" ? 5e9 : 0, mismatched_blocks: 0, delta_rounds: a.job.delta_rounds, powered_off_at: null, imported_at: null }, disks: a.disks, warnings: a.job.state === "completed" ? ["CBT was switched on and stays on"] : [] }; },
  listWaves: () => [...waves].map(([n, w]) => wave(n, w)),
  putWave: ({ params, body }) => { waves.set(params.name, { not_before: null, not_after: null, concurrency: 0, position: 0, ...waves.get(params.name), ...body }); return wave(params.name, waves.get(params.name)); },
  deleteWave: ({ params }) => {
    if (!waves.has(params.name)) throw new Refusal(404, `there is no wave ${params.name}`, { code: "E_JOB_NOT_FOUND" });
    const { queued = 0, running = 0, waiting = 0 } = wave(params.name, {}).jobs;
    if (queued + running + waiting) throw new Refusal(409, `the wave ${params.name} has unfinished jobs`, { code: "E_JOB_STATE" });
    waves.delete(params.name);
  },
  getOverview: () => {
    const list = [...jobs.values()];
    const rate = list.reduce((n, a) => n + (a.job.state === "running" ? a.job.rate_bytes_per_s : 0), 0);
    return { jobs: count(list), bytes_copied: list.reduce((n, a) => n + a.disks.reduce((m, d) => m + d.read_bytes, 0), 0), rate_bytes_per_s: rate,
      needs_person: list.map((a) => a.job).filter((j) => j.required_action || j.state === "failed"), scheduled: list.map((a) => a.job).filter((j) => j.state === "queued" && j.not_before),
      throughput: list.length ? Array.from({ length: 60 }, (_, i) => ({ at: new Date(Date.now() - (60 - i) * 60000).toISOString(), bytes_per_s: Math.round((300 + 80 * Math.sin(i / 5) + 40 * Math.sin(i * 1.7)) * 2 ** 20) })) : [] };
  },
};
const NEED = { operator: ["createEnvironment", "testEnvironment", "changeEnvironment", "deleteEnvironment", "createJobs", "changeJob", "deleteJob", "actOnJob", "putWave", "deleteWave"], admin: ["listUsers", "createUser", "changeUser", "deleteUser", "putSettings", "listAudit"] };

function answer(res, found, status, body) {
  if (found?.op) {
    const wrong = checkAnswer(found, status, body);
    if (wrong) { violations.push(wrong); console.error(`contract: ${wrong}`); return answer(res, null, 500, { detail: wrong }); }
  }
  if (body === undefined) return res.writeHead(status).end();
  if (typeof body === "string") return res.writeHead(status, { "Content-Type": "text/plain; charset=utf-8" }).end(body);
  return res.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}

const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json" };
function file(res, pathname) {
  res.setHeader("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'");
  if (pathname === "/config.js") return res.writeHead(200, { "Content-Type": TYPES[".js"] }).end('window.__V2C__ = { apiBase: "" };\n');
  let path = join(dist, normalize(pathname));
  if (!path.startsWith(dist) || !existsSync(path) || statSync(path).isDirectory()) path = join(dist, "index.html");
  if (!existsSync(path)) return res.writeHead(404).end("run npm run build first\n");
  res.writeHead(200, { "Content-Type": TYPES[extname(path)] ?? "application/octet-stream" });
  return createReadStream(path).pipe(res);
}

async function control(req, res, body) {
  if (body?.broken !== undefined) { broken = body.broken; if (broken) { for (const s of streams) s.destroy(); streams.clear(); } }
  if (body?.job) { const a = job(body.job.id); Object.assign(a.job, body.job); setActions(a.job); publish("job", a.job); }
  return answer(res, null, 200, { violations, jobs: jobs.size });
}

createServer(async (req, res) => {
  const { pathname, searchParams } = new URL(req.url, "http://mock");
  const chunks = [];
  for await (const c of req) chunks.push(c);
  let body;
  try { body = chunks.length ? JSON.parse(Buffer.concat(chunks)) : undefined; } catch { return answer(res, null, 400, { detail: "invalid JSON body" }); }
  if (pathname === "/__mock") return control(req, res, body);
  if (broken) return req.socket.destroy();
  const found = find(req.method, pathname);
  if (found.status === 404 && !pathname.startsWith("/api/")) return file(res, pathname);
  if (found.status) return answer(res, null, found.status, { detail: found.status === 404 ? "there is nothing here" : "method not allowed" });
  try {
    const id = found.op.operationId;
    const session = /v2c_session=(\w+)/.exec(req.headers.cookie ?? "")?.[1];
    const ctx = { res, session, csrf: sessions.get(session)?.csrf ?? null, me: users.get(sessions.get(session)?.user) };
    if (!found.op.security && !ctx.me) throw new Refusal(401, "log in first", { code: "E_API_LOGIN" });
    if (req.method !== "GET" && id !== "login" && req.headers["x-csrf-token"] !== ctx.csrf) throw new Refusal(403, "the CSRF token is missing or wrong", { code: "E_API_CSRF" });
    for (const [role, list] of Object.entries(NEED)) if (list.includes(id) && ORDER[ctx.me.role] < ORDER[role]) throw new Refusal(403, `this needs the role ${role}`, { code: "E_API_ROLE" });
    const wrong = checkRequest(found, body);
    if (wrong) { violations.push(`${id}: ${wrong}`); throw new Refusal(400, `invalid body: ${wrong}`); }
    if (id === "stream") {
      res.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
      res.write(": hello\n\n");
      streams.add(res);
      return res.on("close", () => streams.delete(res));
    }
    if (!ops[id]) throw new Refusal(501, `the mock does not do ${id}`);
    const result = ops[id]({ body, params: found.params, query: Object.fromEntries(searchParams) }, ctx);
    if (req.method !== "GET" && id !== "login") audit.unshift({ at: iso(), user: ctx.me.name, address: "127.0.0.1", action: id, subject: Object.values(found.params).join(" ") || "-", outcome: "ok" });
    return answer(res, found, Number(Object.keys(found.op.responses).find((s) => s.startsWith("2"))), result);
  } catch (e) {
    if (!(e instanceof Refusal)) { console.error(e); violations.push(String(e)); }
    return answer(res, found, e.status ?? 500, e.body ?? { detail: String(e) });
  }
}).listen(Number(opt.port), "127.0.0.1", function () { console.log(`mock: http://127.0.0.1:${this.address().port}/ (${STAGES.length} stages)`); });
