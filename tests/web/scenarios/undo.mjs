// What cannot be taken back wants the VM's name: a cutover at once, a rollback, a cancel.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { act, dialog, more, scenario, showsState, until } from "../lib.mjs";

/** Another name does not do; the right one does. */
async function typeName(page, name, button) {
  const confirm = dialog(page).getByRole("button", { name: button, exact: true });
  const field = dialog(page).getByLabel(/to confirm/);
  for (const wrong of ["", name.slice(0, -1), name.toUpperCase()]) {
    await field.fill(wrong);
    assert.equal(await confirm.isDisabled(), true, `"${wrong}" is not the name`);
    await field.press("Enter"); // nor is this a way around it
    assert.equal(await dialog(page).isVisible(), true);
  }
  await field.fill(name);
  await confirm.click();
  await dialog(page).waitFor({ state: "hidden" });
}

await scenario(async (w) => {
  const [kept, dropped] = await Promise.all([w.begin("app01"), w.begin("tmp01")]);
  const page = await w.login("operator");
  await w.go(page, "jobs", "Progress");

  await w.untilJob(kept, (j) => j.actions.includes("finalize"), "app01 can be finalized");
  await act(page, "app01", "Finalize now…");
  await typeName(page, "app01", "Finalize now");
  await w.untilJob(dropped, (j) => j.state === "waiting", "tmp01 has copied its base");
  const files = (await w.job(dropped)).disks.map((d) => d.path);
  assert.ok(files.length > 0 && files.every((f) => existsSync(f)));
  await w.go(page, `jobs/${dropped}`, /tmp01/);
  await more(page, "Cancel…");
  await w.shot(page, "cancel");
  await typeName(page, "tmp01", "Cancel");
  await page.getByText(/^clean-up/).waitFor(); // the job that takes it away
  await showsState(page, "tmp01", "completed");
  await w.go(page, `jobs/${dropped}`, /tmp01/);
  await showsState(page, "tmp01", "cancelled");
  assert.deepEqual(files.filter((f) => existsSync(f)), []);
  assert.equal((await w.source("tmp01")).snapshots.length, 0);
  assert.equal((await w.source("tmp01")).power, "on");

  await w.go(page, `jobs/${kept}`, /app01/);
  await showsState(page, "app01", "completed");
  assert.equal((await w.source("app01")).power, "off");
  await more(page, "Roll back…");
  await dialog(page).getByLabel(/if it does not stop/).check();
  await typeName(page, "app01", "Roll back");
  await page.getByText(/^rollback/).waitFor();
  await showsState(page, "app01", "completed");
  await until(async () => (await w.source("app01")).power === "on", "the source runs again");
  assert.equal((await w.imported("app01")).length, 0);
  await w.go(page, `jobs/${kept}`, /app01/);
  await page.getByText(/^migration · Rolled back/).waitFor();
  await until(async () => !(await w.job(kept)).actions.includes("rollback"), "once is enough");
  await page.getByRole("button", { name: "More" }).click();
  await page.getByRole("menuitem").first().waitFor();
  assert.equal(await page.getByRole("menuitem", { name: "Roll back…" }).count(), 0);
});
