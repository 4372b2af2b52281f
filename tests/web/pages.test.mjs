// The built page in Chromium, against the mock of the contract: each page shows itself, without a fault.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const web = fileURLToPath(new URL("../../web/", import.meta.url));
const { chromium } = createRequire(`${web}package.json`)("playwright-core");
let mock, browser, page, base;
const faults = [];

before(async () => {
  mock = spawn(process.execPath, ["mock/server.mjs", "--port", "0", "--jobs", "24"], { cwd: web, stdio: ["ignore", "pipe", "inherit"] });
  base = await new Promise((found, lost) => {
    mock.stdout.on("data", (d) => { const m = /http:\/\/[\d.:]+\//.exec(String(d)); if (m) found(m[0]); });
    mock.on("exit", () => lost(new Error("the mock ended")));
  });
  browser = await chromium.launch({ executablePath: process.env.V2C_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
  page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(10_000);
  page.on("pageerror", (e) => faults.push(e.message));
});
after(async () => { await browser?.close(); mock?.kill(); });

test("a wrong password is refused, the right one logs in", async () => {
  await page.goto(base);
  await page.fill("input[autocomplete=username]", "admin");
  await page.fill("input[type=password]", "not-the-password");
  await page.click("button[type=submit]");
  await page.getByText("user or password is wrong").waitFor();
  await page.fill("input[type=password]", "mock-password");
  await page.click("button[type=submit]");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
});

for (const [path, title] of [["jobs", "Progress"], ["vms", "Virtual machines"], ["plan", "Plan"], ["waves", "Waves"], ["environments", "Environments"], ["settings", "Settings"]])
  test(`the page ${path} shows itself`, async () => {
    await page.goto(`${base}#/${path}`);
    await page.getByRole("heading", { name: title, level: 1 }).waitFor();
  });

test("a job's page opens from the table", async () => {
  await page.goto(`${base}#/jobs`);
  await page.locator("tbody a").first().click();
  await page.getByRole("tab", { name: "Timeline" }).waitFor();
});

const focused = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.id ?? "");
// In the dialog, or on the browser's own buttons, which the page cannot see: nowhere else in the page.
const kept = () => page.evaluate(() => document.activeElement === document.body || document.activeElement?.closest(".ant-modal") !== null);
async function open(path, title) {
  await page.goto(`${base}#/${path}`);
  await page.getByRole("heading", { name: title, level: 1 }).waitFor();
}

test("nothing is cut off at 1280 pixels", async () => {
  for (const [path, title, ready] of [["jobs", "Progress", "tbody a"], ["vms", "Virtual machines", "button.link"], ["waves", "Waves", "tbody strong"]]) {
    await open(path, title);
    await page.locator(ready).first().waitFor();
    const wide = await page.evaluate(() => [...document.querySelectorAll("#main, .ant-table-content, .ant-table-tbody-virtual-holder")]
      .filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.className));
    assert.deepEqual(wide, [], path);
  }
});

test("columns that are hidden stay hidden", async () => {
  await open("jobs", "Progress");
  await page.getByRole("columnheader", { name: "Wave" }).waitFor();
  await page.getByRole("button", { name: "Columns" }).click();
  await page.getByRole("menuitem", { name: "Wave", exact: true }).click();
  await page.getByRole("columnheader", { name: "Wave" }).waitFor({ state: "detached" });
  await page.reload();
  await page.getByRole("columnheader", { name: "Created" }).waitFor();
  assert.equal(await page.getByRole("columnheader", { name: "Wave" }).count(), 0);
});

test("many jobs are cancelled when their number is typed, and each says what came of it", async () => {
  await open("jobs?state=active&sort=vm&order=asc", "Progress");
  await page.locator("tbody a").first().waitFor();
  for (let i = 0; i < 3; i++) await page.locator("tr.ant-table-row input[type=checkbox]").nth(i).check();
  const names = await page.locator("tr.ant-table-row a[href*='#/jobs/']").evaluateAll((list) => list.slice(0, 3).map((a) => a.textContent));
  await page.getByText("3 jobs selected").waitFor();
  await page.getByRole("button", { name: "Cancel…", exact: true }).click();
  const dialog = page.getByRole("dialog");
  for (const name of names) await dialog.getByText(name).first().waitFor();
  const confirm = dialog.getByRole("button", { name: "Cancel 3 VMs" });
  assert.equal(await confirm.isDisabled(), true);
  await dialog.getByLabel(/Type 3/).fill("2");
  assert.equal(await confirm.isDisabled(), true, "another number is not enough");
  await dialog.getByLabel(/Type 3/).fill("3");
  await confirm.click();
  await dialog.getByText("Cancel: 3 of 3 done").waitFor();
  await dialog.getByRole("button", { name: "Done" }).click();
  await dialog.waitFor({ state: "hidden" });
  assert.equal(await page.getByText("jobs selected").count(), 0, "what worked is not selected any more");
});

test("what is possible for some only says for how many, and what failed is named", async () => {
  await open("jobs?sort=vm&order=asc&state=running,failed", "Progress");
  await page.locator("tbody a").first().waitFor();
  await page.getByRole("checkbox", { name: "Select all on this page" }).check();
  const retry = page.getByRole("button", { name: /^Retry \(\d+ of \d+\)$/ });
  await retry.click();
  const dialog = page.getByRole("dialog");
  await dialog.locator("summary").press("Enter");
  await dialog.getByLabel("VMs that are left out").waitFor();
  await page.route("**/actions/retry", (route) => route.fulfill({ status: 409, json: { detail: "it is locked", hint: "wait for the other", code: "E_JOB_STATE" } }), { times: 1 });
  await dialog.getByRole("button", { name: /^Retry \d+ VMs$/ }).click();
  await dialog.getByText("it is locked").waitFor();
  await dialog.getByText("wait for the other").waitFor();
  await dialog.getByRole("status").getByText("1 failed").waitFor();
  await dialog.getByRole("button", { name: "Done" }).click();
  await page.getByText("selected").first().waitFor();
});

test("a wave is made, changed and deleted; one with unfinished jobs is not", async () => {
  await open("waves", "Waves");
  assert.equal(await page.getByRole("button", { name: "Delete wave-1" }).isDisabled(), true);
  await page.getByRole("button", { name: "New wave" }).click();
  const drawer = page.getByRole("dialog");
  await drawer.getByRole("button", { name: "Make it" }).click();
  await drawer.getByText("a wave needs a name").waitFor();
  await drawer.getByLabel("Name").fill("sunday");
  await drawer.getByLabel("Jobs at once").fill("7");
  await drawer.getByLabel("Begins not before").fill("2099-05-01 22:00");
  await page.keyboard.press("Enter");
  await drawer.getByRole("button", { name: "Make it" }).click();
  const row = page.locator("tr.ant-table-row", { hasText: "sunday" });
  await row.getByText("2099-05-01 22:00").waitFor();
  await row.getByText("7", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Change sunday" }).click();
  await drawer.getByLabel("Order").fill("9");
  await drawer.getByRole("button", { name: "Save" }).click();
  await row.getByText("9", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Delete sunday" }).click();
  await page.getByRole("button", { name: "Delete", exact: true }).last().click();
  await row.waitFor({ state: "detached" });
});

test("a plan: a cutover that has passed is a problem, the review has names, a draft survives a reload", async () => {
  await open("vms", "Virtual machines");
  await page.getByLabel("Select app01").check();
  await page.getByRole("button", { name: "Plan 1 VM" }).click();
  await page.getByRole("heading", { name: "Plan", level: 1 }).waitFor();
  const choose = async (label) => {
    await page.getByRole("combobox", { name: label }).click();
    await page.locator(".ant-select-item-option:visible").first().click();
    await page.locator(".ant-select-item-option:visible").first().waitFor({ state: "hidden" });
  };
  await choose("CloudStack");
  await page.getByRole("button", { name: "app01" }).click();
  for (const label of ["Zone", "Cluster", "Storage pool", "Service offering"]) await choose(label);
  await page.getByRole("tab", { name: "Networks" }).click();
  await choose(/prod-100/);
  const review = page.getByRole("region", { name: "Review" });
  await review.getByText("nfs-north-1").waitFor();
  await review.getByText("00:50:56:").first().waitFor();
  await page.getByRole("tab", { name: "Strategy" }).click();
  const at = page.getByLabel("Cutover at");
  await at.fill("2020-01-01 10:00");
  await page.keyboard.press("Enter");
  await review.getByText("the cutover time has passed").waitFor();
  await at.fill("2099-01-01 10:00");
  await page.keyboard.press("Enter");
  await review.getByText("cutover 2099-01-01 10:00").waitFor();
  await page.getByRole("button", { name: "Show the YAML" }).click();
  await page.getByText(/finalize_at: 2099-01-01T10:00:00[+-]\d\d:\d\d/).waitFor();
  await page.waitForTimeout(400); // it is written 0.3 s after a change
  await page.reload();
  await review.getByText("cutover 2099-01-01 10:00").waitFor();
  assert.equal(await page.getByLabel(/I have reviewed/).isChecked(), false);
});

test("keys: skip link, search, pages, the list of keys, and the focus comes back", async () => {
  await open("jobs", "Progress");
  await page.locator("tbody a").first().waitFor();
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press("/");
  assert.equal(await focused(), "Search jobs");
  await page.keyboard.type("?"); // a letter of the search, not a key of ours
  assert.equal(await page.getByRole("dialog").count(), 0);
  await page.reload();
  await page.locator("tbody a").first().waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assert.equal(await focused(), "main", "the skip link goes to the content");
  await page.keyboard.press("?");
  await page.getByRole("dialog").getByText("These keys").waitFor();
  for (let i = 0; i < 6; i++) {
    await page.keyboard.press("Tab");
    assert.equal(await kept(), true, "a dialog keeps the focus");
  }
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  const menu = page.getByLabel(/^Actions for/).first();
  const label = await menu.getAttribute("aria-label");
  await menu.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("menuitem").first().waitFor();
  await page.waitForFunction(() => document.activeElement?.getAttribute("role") === "menuitem");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  for (let i = 0; i < 6; i++) {
    await page.keyboard.press("Tab");
    assert.equal(await kept(), true, "a dialog keeps the focus");
  }
  assert.equal(await page.getByRole("dialog").count(), 1, "the key that chose it pressed nothing in it");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  await page.waitForFunction((l) => document.activeElement?.getAttribute("aria-label") === l, label);
  await page.keyboard.press("g");
  await page.keyboard.press("w");
  await page.getByRole("heading", { name: "Waves", level: 1 }).waitFor();
  await page.waitForFunction(() => document.activeElement?.id === "main");
});

test("a service that does not answer is said, and so is that it does again", async () => {
  await open("overview", "Overview");
  const told = (broken) => fetch(`${base}__mock`, { method: "POST", body: JSON.stringify({ broken }) });
  await told(true);
  await page.getByText("The service does not answer").first().waitFor({ timeout: 15_000 });
  await told(false);
  await page.getByText("What is shown may be old.").waitFor({ state: "detached", timeout: 15_000 });
});

test("a viewer is offered nothing that changes anything", async () => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const viewer = await context.newPage();
  viewer.setDefaultTimeout(10_000);
  await viewer.goto(base);
  await viewer.fill("input[autocomplete=username]", "viewer");
  await viewer.fill("input[type=password]", "mock-password");
  await viewer.keyboard.press("Enter");
  await viewer.getByRole("heading", { name: "Overview" }).waitFor();
  await viewer.goto(`${base}#/jobs`);
  await viewer.locator("tbody a").first().waitFor();
  assert.equal(await viewer.locator("tr.ant-table-row input[type=checkbox]").count(), 0);
  assert.equal(await viewer.getByLabel(/^Actions for/).count(), 0);
  await viewer.goto(`${base}#/waves`);
  await viewer.getByText("wave-1").first().waitFor();
  assert.equal(await viewer.getByRole("button", { name: /wave|Change|Delete/ }).count(), 0);
  await context.close();
});

test("somebody's word about the source is asked for only where it counts", async () => {
  const id = await page.evaluate(async () => (await (await fetch("/api/v1/jobs?state=failed&limit=1")).json()).items[0].id);
  let code = "E_VC_CONNECT";
  await page.route(`**/api/v1/jobs/${id}`, async (route) => {
    const answer = await route.fetch();
    const job = await answer.json();
    await route.fulfill({ response: answer, json: { ...job, error: { ...job.error, code } } });
  });
  const retry = async () => {
    await page.goto(`${base}#/jobs/${id}`);
    await page.reload();
    await page.getByRole("button", { name: "Retry", exact: true }).click();
    await page.getByRole("dialog").getByText("With debug output").waitFor();
    return page.getByRole("dialog").getByText("the source was neither started");
  };
  assert.equal(await (await retry()).count(), 0);
  code = "E_SOURCE_CHANGED";
  await (await retry()).click();
  const sent = page.waitForRequest((request) => request.url().endsWith("/actions/retry"));
  await page.getByRole("dialog").getByRole("button", { name: "Retry", exact: true }).click();
  assert.deepEqual((await sent).postDataJSON(), { source_untouched: true });
});

test("who logs out sees the login, and nothing behind it", async () => {
  await open("jobs", "Progress");
  await page.getByRole("button", { name: "User admin" }).click();
  await page.getByRole("menuitem", { name: "Log out" }).click();
  await page.locator("input[autocomplete=username]").waitFor();
  assert.equal(await page.getByRole("table").count(), 0);
});

test("no page had a fault, and the contract was kept", async () => {
  assert.deepEqual(faults, []);
  assert.deepEqual((await (await fetch(`${base}__mock`)).json()).violations, []);
});
