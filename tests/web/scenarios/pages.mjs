// axe on every page and dialog, wide and on a phone, light and dark; and that bars move with the stream.
import assert from "node:assert/strict";
import { act, choose, dialog, more, PHONE, planVm, fillPlan, scenario, until, WIDE } from "../lib.mjs";

// Of what has been looked at in one theme, only the colours are other in the other one.
const COLOURS = { runOnly: { type: "rule", values: ["color-contrast"] } };
const LOOKS = [[WIDE, "light"], [WIDE, "dark", COLOURS], [PHONE, "dark"]];

await scenario(async (w) => {
  async function look(page, where) {
    for (const [size, colorScheme, rules] of LOOKS) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize(size);
      await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
      await w.axe(page, `${where}, ${size.width} px, ${colorScheme}`, rules);
    }
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize(WIDE);
  }
  const tab = async (page, name) => {
    await page.getByRole("tab", { name, exact: true }).click();
    await page.getByRole("tab", { name, exact: true, selected: true }).waitFor();
  };

  const done = await w.begin("web01");
  const slow = await w.begin("axe01", { bandwidth_limit: "64KiB/s" });
  const failed = await w.begin("nobody"); // there is no such VM
  await w.call("PUT", "/api/v1/waves/night", { not_before: "2099-01-01T00:00:00Z" });
  await w.untilJob(done, (j) => j.actions.includes("finalize"), "web01 can be finalized");
  await w.call("POST", `/api/v1/jobs/${done}/actions/finalize`, { now: true });

  async function ofJobs() {
    const page = await w.open();
    await page.goto(`${w.url}/`);
    await page.getByRole("button", { name: "Log in" }).waitFor();
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByText("Who are you?").waitFor();
    await look(page, "the login");
    await page.getByRole("textbox", { name: "User" }).fill("operator");
    await page.getByLabel("Password", { exact: true }).fill(w.passwords.operator);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
    await look(page, "the overview");

    await w.go(page, "jobs", "Progress");
    const bar = page.getByRole("progressbar", { name: "Progress of axe01" });
    await bar.waitFor();
    await page.getByRole("status", { name: "Connection: live" }).waitFor();
    await page.route("**/api/v1/jobs?*", (route) => route.abort()); // what comes now comes by the stream
    let seen = 0;
    for (let i = 0; i < 3; i++) seen = await until(async () => {
      const now = Number(await bar.getAttribute("aria-valuenow"));
      return now > seen && now < 100 ? now : 0; // the end of the copy would be told in another way
    }, "the bar moves");
    await page.unroute("**/api/v1/jobs?*");
    await page.reload(); // it may say that the list could not be read again
    await bar.waitFor();
    await w.shot(page, "progress");
    await look(page, "the progress");
    for (const action of ["Finalize now…", "Bandwidth…", "Cancel…"]) {
      await act(page, "axe01", action);
      const name = dialog(page).getByLabel(/to confirm/);
      if (await name.count()) await name.fill("axe01"); // so that what it does can be pressed
      await look(page, `the dialog ${action}`);
      await page.keyboard.press("Escape");
      await dialog(page).waitFor({ state: "hidden" });
    }
    await w.go(page, "jobs?q=nothing-has-this-name", "Progress");
    await page.getByText("No job is like that").waitFor();
    await look(page, "an empty list");

    await w.go(page, `jobs/${failed}`, /nobody/);
    await page.getByText("E_VSPHERE_NOT_FOUND").waitFor();
    await look(page, "a failed job");
    await page.getByRole("button", { name: "Retry", exact: true }).click();
    await look(page, "the dialog Retry");
    await page.keyboard.press("Escape");
    await w.untilJob(done, (j) => j.state === "completed", "web01 is migrated");
    await w.go(page, `jobs/${done}`, /web01/);
    for (const name of ["Watch", "Timeline", "Log", "Report", "Details"]) {
      await tab(page, name);
      await look(page, `a job: ${name}`);
    }
    await more(page, "Roll back…");
    await look(page, "the dialog Roll back");
  }

  async function ofTheRest() {
    const page = await w.login("admin");
    await w.go(page, "environments", "Environments");
    await look(page, "the environments");
    await page.getByRole("button", { name: "Add", exact: true }).click();
    await dialog(page).getByRole("button", { name: "Test and save" }).click(); // nothing is filled in
    await dialog(page).locator(".ant-form-item-explain-error").first().waitFor();
    await look(page, "the dialog of a vCenter");
    await choose(page, "Kind", "CloudStack");
    await look(page, "the dialog of a CloudStack");
    await page.keyboard.press("Escape");

    await w.go(page, "vms", "Virtual machines");
    await page.getByText("axe01", { exact: true }).waitFor();
    await look(page, "the virtual machines");
    await planVm(page, "axe01");
    await look(page, "a plan in which nothing is chosen");
    await fillPlan(page, "axe01");
    await page.getByRole("button", { name: "Show the YAML" }).click();
    await page.getByLabel("YAML", { exact: true }).waitFor();
    for (const name of ["Placement", "Networks", "Disks", "Strategy"]) {
      await tab(page, name);
      await look(page, `the plan: ${name}`);
    }
    await page.getByLabel("File to import").setInputFiles({ name: "wave.csv", mimeType: "text/csv", buffer: Buffer.from("name,colour\naxe01,red\n") });
    await page.getByText("The file was not imported").waitFor();
    await look(page, "a file that is not imported");

    for (const name of ["Limits", "Users", "Audit", "Tokens", "Account", "About"]) {
      await w.go(page, `settings/${name.toLowerCase()}`, "Settings");
      await page.getByRole("tab", { name, exact: true, selected: true }).waitFor();
      if (name === "Users") {
        await page.getByRole("button", { name: "Remove viewer" }).click();
        await page.getByText("Remove viewer?").waitFor();
      }
      await look(page, `the settings: ${name}`);
    }
  }

  await Promise.all([ofJobs(), ofTheRest()]);
  await w.call("POST", `/api/v1/jobs/${slow}/actions/cancel`, {});
  await w.untilJob(slow, (j) => j.state === "cancelled", "axe01 is cancelled");
});
