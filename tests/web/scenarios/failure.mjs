// A job that fails says why and what cures it; a retry is a new job that goes on, and the old one is kept.
import assert from "node:assert/strict";
import { dialog, LONG, scenario, showsState } from "../lib.mjs";

await scenario(async (w) => {
  await w.fault("vsphere.CreateSnapshot_Task", "fail", "NoPermission");
  const failed = await w.begin("db01");
  const page = await w.login("operator");
  await w.go(page, "jobs", "Progress");
  await page.getByText("failed", { exact: true }).first().waitFor(LONG);
  await page.getByRole("link", { name: "db01", exact: true }).click();
  await showsState(page, "db01", "failed");
  const alert = page.getByRole("alert").filter({ hasText: "snapshot" });
  await alert.getByText(/give the account's role the privilege/).waitFor(); // the cure
  await alert.getByText("E_VSPHERE_PRIVILEGE").waitFor();
  await w.shot(page, "failed");

  await w.clearFaults(); // as if the privilege had been given
  await page.getByRole("button", { name: "Retry", exact: true }).click();
  await dialog(page).getByRole("button", { name: "Retry", exact: true }).click();
  await page.waitForURL((u) => /#\/jobs\/[^/]+$/.test(u.hash) && !u.hash.includes(failed));
  const retry = new URL(page.url()).hash.split("/").at(-1);
  await page.getByText("Deltas").first().waitFor(LONG);
  await page.getByRole("button", { name: "Finalize…", exact: true }).click();
  await dialog(page).getByRole("button", { name: "Finalize", exact: true }).click();
  await showsState(page, "db01", "completed");
  assert.equal(await page.getByText("E_VSPHERE_PRIVILEGE").count(), 0, "what the first job died of is not shown with this one");

  await page.getByRole("tab", { name: "Details" }).click();
  await page.getByRole("link", { name: failed }).click(); // "Retry of"
  await showsState(page, "db01", "failed");
  await alert.waitFor();
  await w.go(page, "jobs?history=1", "Progress");
  for (const id of [failed, retry]) await page.locator(`a[href$="#/jobs/${id}"]`).waitFor();
  await w.go(page, "jobs", "Progress");
  await page.locator(`a[href$="#/jobs/${retry}"]`).waitFor();
  assert.equal(await page.locator(`a[href$="#/jobs/${failed}"]`).count(), 0, "only the last job of a VM, without the history");
});
