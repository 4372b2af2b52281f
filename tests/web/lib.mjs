// What the scenarios share: a browser, the lab's control, the API by token, axe, and the steps that several take.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const web = createRequire(fileURLToPath(new URL("../../web/package.json", import.meta.url)));
const { chromium } = web("playwright-core");
const axeSource = readFileSync(web.resolve("axe-core/axe.min.js"), "utf8");

export const WIDE = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };
export const LONG = { timeout: 90_000 }; // what waits for a migration

/** Plays a scenario in a browser of its own; the exit status is 0 only when all of it held and no page had a fault.
 * node NAME.mjs WORLD, where WORLD is a JSON file: url, passwords and tokens by role, the lab's lab.json, shots. */
export async function scenario(play) {
  const given = JSON.parse(readFileSync(process.argv[2], "utf8"));
  const world = new World(given, JSON.parse(readFileSync(given.lab, "utf8")));
  world.browser = await chromium.launch({ executablePath: process.env.V2C_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
  try {
    await play(world);
    assert.deepEqual(world.faults, []);
  } catch (e) {
    console.error(e, world.faults);
    for (const [i, page] of world.browser.contexts().flatMap((c) => c.pages()).entries())
      await page.screenshot({ path: `${given.scratch}/failed-${i}.png` }).catch(() => undefined);
    process.exitCode = 1;
  } finally {
    await world.browser.close();
    process.stdin.unref?.();
  }
}

/** Polls until `condition()` brings something; fails with `what` otherwise. */
export async function until(condition, what, seconds = 30) {
  const end = Date.now() + seconds * 1000;
  while (Date.now() < end) {
    const value = await condition();
    if (value) return value;
    await new Promise((go) => setTimeout(go, 100));
  }
  throw new Error(`not within ${seconds} s: ${what}`);
}

class World {
  faults = []; // of any page: errors, refusals of the browser, findings of axe
  constructor(given, lab) {
    Object.assign(this, given, { lab });
  }

  async open(size = WIDE, dark = false, moves = false) {
    const context = await this.browser.newContext({
      viewport: size, colorScheme: dark ? "dark" : "light", reducedMotion: moves ? "no-preference" : "reduce",
    });
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    page.on("pageerror", (e) => this.faults.push(e.message));
    page.on("console", (m) => {
      // A status that is no success is logged by the browser itself, and is the scenario's to judge.
      if (m.type() === "error" && !/^Failed to load resource/.test(m.text())) this.faults.push(m.text());
    });
    return page;
  }
  async login(role, ...look) {
    const page = await this.open(...look);
    await page.goto(`${this.url}/`);
    await page.getByRole("textbox", { name: "User" }).fill(role);
    await page.getByLabel("Password", { exact: true }).fill(this.passwords[role]);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
    return page;
  }
  /** A page's route and its first heading. */
  async go(page, route, heading) {
    await page.goto(`${this.url}/#/${route}`);
    await page.getByRole("heading", { name: heading, level: 1 }).waitFor();
  }
  shot(page, name) {
    return this.shots ? page.screenshot({ path: `${this.shots}/${name}.png` }) : undefined;
  }
  /** Findings of axe that are serious or critical, as faults. */
  async axe(page, where, options = {}) {
    if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axeSource);
    const found = await page.evaluate(async (o) => (await globalThis.axe.run({ resultTypes: ["violations"], ...o })).violations
      .filter((v) => v.impact === "serious" || v.impact === "critical")
      .map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.target.join(" ")} (${n.any[0]?.message ?? n.html})`).join(", ")}`), options);
    if (found.length) this.faults.push(`axe on ${where}: ${found.join("; ")}`);
  }

  /** The API, by the token of a role: status and decoded body. */
  async call(method, path, body, role = "operator") {
    const answer = await fetch(this.url + path, {
      method, body: body === undefined ? undefined : JSON.stringify(body),
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${this.tokens[role]}` },
    });
    const text = await answer.text();
    return { status: answer.status, body: /^[{[]/.test(text) ? JSON.parse(text) : text };
  }
  /** Begins a migration where the plan is not what is tried; its job. */
  async begin(name, migration = {}) {
    const cs = this.lab.cloudstack;
    const ids = Object.fromEntries(["zoneid", "clusterid", "storageid", "networkid", "serviceofferingid", "diskofferingid", "ostypeid"].map((k) => [k, cs[k]]));
    const { status, body } = await this.call("POST", "/api/v1/jobs", { vms: [{
      vm: { name, moref: this.moref(name) },
      migration: { delta_interval: 1, finalize_delta_interval: 1, start_vm_after_import: true, ...migration },
      target: { cloudstack: { ...ids, rootdiskcontroller: "virtio", nicadapter: "virtio" } },
    }] });
    assert.ok(status === 200 || status === 201, JSON.stringify(body));
    return body[0].id;
  }
  async job(id) {
    return (await this.call("GET", `/api/v1/jobs/${id}`)).body;
  }
  untilJob(id, condition, what, seconds = 90) {
    return until(async () => {
      const job = await this.job(id);
      return condition(job) ? job : null;
    }, what, seconds);
  }

  moref(name) {
    return this.lab.vms.find((vm) => vm.name === name)?.moref;
  }
  async control(method, path, body) {
    const answer = await fetch(this.lab.control.replace(/\/$/, "") + path, { method, body: body && JSON.stringify(body) });
    assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
    const text = await answer.text();
    return text.trim() ? JSON.parse(text) : null;
  }
  fault(where, action, detail = "", count = -1) {
    return this.control("POST", "/faults", { where, action, detail, delay_ms: 0, skip: 0, count });
  }
  clearFaults() {
    return this.control("DELETE", "/faults");
  }
  power(name, state) {
    return this.control("POST", `/vms/${this.moref(name)}/power`, { state });
  }
  async source(name) {
    return (await this.control("GET", "/state")).vms.find((vm) => vm.name === name);
  }
  async imported(name) {
    return (await this.control("GET", "/state")).cloudstack.vms.filter((vm) => vm.displayname === name);
  }

  /** Asks who plays this for what only they can do: "kill" and "start" of the service. */
  async ask(what) {
    const lines = createInterface({ input: process.stdin });
    const answer = new Promise((said) => lines.once("line", said));
    process.stdout.write(`ask ${what}\n`);
    assert.equal(await answer, "done");
    lines.close();
  }
}

// ---- steps ----------------------------------------------------------------------------------------------------

/** Chooses in a list: what has this text, or the first. */
export async function choose(page, label, text) {
  await page.getByRole("combobox", { name: label, exact: true }).click();
  const options = page.locator(".ant-select-item-option:visible");
  await options.first().waitFor();
  await (text ? options.filter({ hasText: text }).first() : options.first()).click();
  await options.first().waitFor({ state: "hidden" });
}

/** Ticks a VM in the table of VMs and takes it into the plan. */
export async function planVm(page, name) {
  await page.getByRole("checkbox", { name: `Select ${name}`, exact: true }).check();
  await page.getByRole("button", { name: /^Plan 1/ }).click();
  await page.getByRole("heading", { name: "Plan", level: 1 }).waitFor();
}

/** The plan's only VM: everything that has no default. */
export async function fillPlan(page, name, cloudstack) {
  await choose(page, "CloudStack", cloudstack);
  await page.getByRole("button", { name, exact: true }).click();
  for (const label of ["Zone", "Cluster", "Storage pool", "Service offering", "OS type", "Disk controller", "NIC adapter"]) await choose(page, label);
  await page.getByRole("tab", { name: "Networks" }).click();
  await choose(page, /VM Network/);
  await page.getByRole("tab", { name: "Strategy" }).click();
  await page.getByLabel("Delta interval, s", { exact: true }).fill("1");
  await choose(page, "Start it after the import", "yes");
}

/** Whether a person sees all of it without scrolling. */
export async function inSight(page, locator) {
  const box = await locator.boundingBox();
  const size = page.viewportSize();
  return box !== null && box.x >= 0 && box.y >= 0 && box.x + box.width <= size.width && box.y + box.height <= size.height;
}

export const dialog = (page) => page.getByRole("dialog");

/** Opens an action's dialog from the row or card of a VM. */
export async function act(page, name, action) {
  await page.getByRole("button", { name: `Actions for ${name}`, exact: true }).first().click();
  await page.getByRole("menuitem", { name: action, exact: true }).click();
  await dialog(page).getByText(name).first().waitFor();
}

/** Opens the dialog of an action from the menu of a job's page. */
export async function more(page, action) {
  await page.getByRole("button", { name: "More", exact: false }).click();
  await page.getByRole("menuitem", { name: action, exact: true }).click();
  await dialog(page).waitFor();
}

/** The state that a job's page shows beside the VM's name. */
export async function showsState(page, name, state) {
  await page.getByRole("heading", { level: 1 }).filter({ hasText: name }).getByText(state, { exact: true }).waitFor(LONG);
}
