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

for (const [path, title] of [["jobs", "Progress"], ["vms", "Virtual machines"], ["plan", "Plan"], ["environments", "Environments"], ["settings", "Settings"]])
  test(`the page ${path} shows itself`, async () => {
    await page.goto(`${base}#/${path}`);
    await page.getByRole("heading", { name: title, level: 1 }).waitFor();
  });

test("a job's page opens from the table", async () => {
  await page.goto(`${base}#/jobs`);
  await page.locator("tbody a").first().click();
  await page.getByRole("tab", { name: "Timeline" }).waitFor();
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

test("no page had a fault, and the contract was kept", async () => {
  assert.deepEqual(faults, []);
  assert.deepEqual((await (await fetch(`${base}__mock`)).json()).violations, []);
});
