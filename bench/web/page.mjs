// What `measure` wants to know of the pages; its input is JSON on stdin, its output JSON on stdout.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const { chromium } = createRequire(fileURLToPath(new URL("../../web/package.json", import.meta.url)))("playwright-core");
const world = JSON.parse(readFileSync(0, "utf8"));
const browser = await chromium.launch({ executablePath: world.chromium, args: ["--no-sandbox"] });
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const SIZE = { width: 1280, height: 800 };

/** Loads a page with an empty cache: its first paint, and when there is `wanted`, in ms since the start of the navigation. */
async function load(route, wanted, storageState) {
  const context = await browser.newContext({ viewport: SIZE, storageState });
  const page = await context.newPage();
  await page.addInitScript((selector) => {
    const look = () => (document.querySelector(selector) ? (globalThis.shownAt = performance.now()) : requestAnimationFrame(look));
    requestAnimationFrame(look);
  }, wanted);
  await page.goto(`${world.url}/${route}`);
  await page.waitForFunction(() => globalThis.shownAt !== undefined && performance.getEntriesByName("first-contentful-paint").length > 0);
  const figures = await page.evaluate(() => ({
    first_paint_ms: performance.getEntriesByName("first-contentful-paint")[0].startTime, shown_ms: globalThis.shownAt,
    javascript_kib: performance.getEntriesByType("resource").filter((r) => r.name.endsWith(".js")).reduce((n, r) => n + r.encodedBodySize, 0) / 1024,
  }));
  await context.close();
  return figures;
}
async function loads(route, wanted, storageState) {
  const all = [];
  for (let i = 0; i < world.rounds; i++) all.push(await load(route, wanted, storageState));
  return Object.fromEntries(Object.keys(all[0]).map((k) => [k, Math.round(median(all.map((f) => f[k])))]));
}

async function login() {
  const context = await browser.newContext({ viewport: SIZE });
  const page = await context.newPage();
  await page.goto(`${world.url}/`);
  await page.getByRole("textbox", { name: "User" }).fill(world.user);
  await page.getByLabel("Password", { exact: true }).fill(world.password);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
  return { context, page };
}

/** What the open page does for some seconds, while the stream tells of the jobs. */
async function watch(page, route) {
  const cdp = await page.context().newCDPSession(page);
  const events = {};
  cdp.on("Network.eventSourceMessageReceived", (e) => { events[e.eventName] = (events[e.eventName] ?? 0) + 1; });
  await cdp.send("Network.enable");
  await cdp.send("Performance.enable");
  const metrics = async () => Object.fromEntries((await cdp.send("Performance.getMetrics")).metrics.map((m) => [m.name, m.value]));
  await page.goto(`${world.url}/${route}`);
  await page.reload(); // with the stream in sight of the session above
  await page.getByRole("progressbar").first().waitFor();
  const before = await metrics();
  for (const k of Object.keys(events)) delete events[k];
  const seen = await page.evaluate((seconds) => new Promise((done) => {
    const tasks = [], frames = [];
    const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((e) => e.duration)));
    observer.observe({ type: "longtask" });
    const begin = performance.now();
    let last = begin;
    const frame = (now) => {
      frames.push(now - last);
      last = now;
      if (now - begin < seconds * 1000) requestAnimationFrame(frame);
      else { observer.disconnect(); done({ tasks, frames }); }
    };
    requestAnimationFrame(frame);
  }), world.seconds);
  const after = await metrics();
  const frames = seen.frames.sort((a, b) => a - b);
  const at = (share) => Math.round(frames[Math.min(frames.length - 1, Math.floor(frames.length * share))] * 10) / 10;
  const spent = (name) => Math.round((after[name] - before[name]) / world.seconds * 1000) / 10;
  return {
    events, long_tasks: seen.tasks.length, longest_task_ms: Math.round(Math.max(0, ...seen.tasks)),
    frames: frames.length, frame_ms: { median: at(0.5), p99: at(0.99), longest: at(1) },
    percent_of_core: { all: spent("TaskDuration"), script: spent("ScriptDuration"), style_and_layout: Math.round((spent("RecalcStyleDuration") + spent("LayoutDuration")) * 10) / 10 },
    dom_nodes: await page.evaluate(() => document.querySelectorAll("*").length), heap_mib: Math.round(after.JSHeapUsedSize / 2 ** 20),
  };
}

try {
  const result = { login: await loads("", "input[type=password]") };
  const { context, page } = await login();
  const state = await context.storageState();
  result.overview = await loads("#/overview", ".stat", state);
  result.list = await loads("#/jobs", "[role=progressbar]", state);
  result.list_watched = await watch(page, "#/jobs");
  process.stdout.write(JSON.stringify(result));
} finally {
  await browser.close();
}
