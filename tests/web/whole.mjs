// The whole way in a real browser against the real service: node whole.mjs URL PASSWORD VIEWER_PASSWORD SHOTS_DIR
// Logs in, chooses a VM, plans, starts, watches, cuts over; a viewer may only look.  Exit status 0 when all of it worked.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const web = fileURLToPath(new URL("../../web/", import.meta.url));
const { chromium } = createRequire(`${web}package.json`)("playwright-core");
const axeSource = createRequire(`${web}package.json`).resolve("axe-core/axe.min.js");
const [url, password, viewerPassword, shots] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: process.env.V2C_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
const faults = [];

async function open(size = { width: 1280, height: 800 }, dark = false) {
  const context = await browser.newContext({ viewport: size, colorScheme: dark ? "dark" : "light", bypassCSP: true });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (e) => faults.push(e.message));
  return page;
}
async function login(page, user, secret) {
  await page.goto(`${url}/`);
  await page.fill("input[autocomplete=username]", user);
  await page.fill("input[type=password]", secret);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
}
async function choose(page, label, text) {
  const box = page.getByRole("combobox", { name: label, exact: true });
  await box.click();
  const options = page.locator(".ant-select-item-option:visible");
  await options.first().waitFor();
  await (text ? options.filter({ hasText: text }).first() : options.first()).click();
  await page.locator(".ant-select-item-option:visible").first().waitFor({ state: "hidden" });
}
const shot = (page, name) => (shots ? page.screenshot({ path: `${shots}/${name}.png` }) : undefined);

async function axe(page, where) {
  await page.addScriptTag({ path: axeSource });
  const found = await page.evaluate(async () => (await globalThis.axe.run()).violations
    .filter((v) => v.impact === "serious" || v.impact === "critical")
    .map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 3).join(", ")}`));
  if (found.length) faults.push(`axe on ${where}: ${found.join("; ")}`);
}

try {
  const page = await open();
  await login(page, "operator", password);
  await axe(page, "overview");
  await page.goto(`${url}/#/vms`);
  await page.getByText("mail01", { exact: true }).waitFor();
  await axe(page, "vms");
  await shot(page, "vms");
  await page.locator(".ant-table-row, .ant-table-tbody-virtual-holder-inner > div").filter({ hasText: "mail01" }).locator("input[type=checkbox]").check();
  await page.getByRole("button", { name: /Plan 1/ }).click();
  await page.getByRole("heading", { name: "Plan", level: 1 }).waitFor();
  await choose(page, "CloudStack");
  await page.getByRole("button", { name: "mail01" }).click();
  for (const label of ["Zone", "Cluster", "Storage pool", "Service offering", "OS type", "Disk controller", "NIC adapter"]) await choose(page, label);
  await page.getByRole("tab", { name: "Networks" }).click();
  await choose(page, /VM Network/);
  await page.getByRole("tab", { name: "Strategy" }).click();
  await page.getByLabel("Delta interval, s", { exact: true }).fill("1");
  await page.getByRole("button", { name: "Show the YAML" }).click();
  await page.getByLabel("YAML").waitFor();
  assert.match(await page.getByLabel("YAML").innerText(), /mail01/);
  await axe(page, "plan");
  await shot(page, "plan");
  await page.reload();
  await page.getByRole("button", { name: "mail01" }).waitFor(); // the draft has survived
  await page.getByLabel(/I have reviewed/).check();
  await page.getByRole("button", { name: /Start 1/ }).click();
  await page.getByRole("heading", { name: "Progress" }).waitFor();
  await page.getByRole("link", { name: "mail01" }).click();
  await page.getByText("Deltas").first().waitFor({ timeout: 90_000 });
  await shot(page, "job");
  await axe(page, "job");
  await page.goto(`${url}/#/jobs`);
  const row = page.locator("tr, .ant-table-row").filter({ hasText: "mail01" }).first();
  await row.getByRole("button").last().click();
  await page.getByRole("menuitem", { name: /^(Finalize|Cut over)( |$|…)(?!.*now)/i }).first().click();
  await page.locator(".ant-modal").getByText("mail01").first().waitFor();
  await shot(page, "confirm");
  await page.locator(".ant-modal-footer .ant-btn").last().click();
  await page.getByText("completed").first().waitFor({ timeout: 120_000 });
  await shot(page, "jobs");
  await axe(page, "jobs");

  const viewer = await open({ width: 390, height: 844 }, true);
  await login(viewer, "viewer", viewerPassword);
  await shot(viewer, "phone-overview");
  await viewer.goto(`${url}/#/jobs`);
  await viewer.getByText("mail01").first().waitFor();
  await shot(viewer, "phone-jobs");
  assert.equal(await viewer.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, "a phone need not scroll sideways");
  await viewer.goto(`${url}/#/plan`);
  await viewer.getByRole("heading", { name: "Plan", level: 1 }).waitFor();
  assert.equal(await viewer.getByRole("button", { name: /^Start/ }).count(), 0, "a viewer starts nothing");
  await axe(viewer, "plan of a viewer on a phone");
  assert.deepEqual(faults, []);
} catch (e) {
  console.error(e, faults);
  for (const context of browser.contexts()) for (const page of context.pages()) await shot(page, "failed");
  process.exitCode = 1;
} finally {
  await browser.close();
}
