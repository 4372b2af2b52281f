// The whole way: servers are added, a VM is chosen, planned, started, watched and cut over.
import assert from "node:assert/strict";
import { act, choose, dialog, fillPlan, LONG, planVm, scenario, showsState, WIDE } from "../lib.mjs";
import { addCloudStack, addVcenter } from "../servers.mjs";

await scenario(async (w) => {
  const page = await w.login("operator", WIDE, false, true);
  await w.shot(page, "overview");
  await w.go(page, "environments", "Environments");
  await addVcenter(w, page, "Hall A");
  await addCloudStack(w, page, "Cloud A");
  await w.shot(page, "environments");

  await w.go(page, "vms", "Virtual machines");
  await choose(page, "vCenter", "Hall A");
  await page.getByText("mail01", { exact: true }).waitFor();
  await w.shot(page, "vms");
  await planVm(page, "mail01");
  await fillPlan(page, "mail01", "Cloud A");
  await page.getByRole("button", { name: "Show the YAML" }).click();
  assert.match(await page.getByLabel("YAML", { exact: true }).innerText(), /mail01/);
  await w.shot(page, "plan");
  await page.reload();
  await page.getByRole("button", { name: "mail01", exact: true }).waitFor(); // the draft has survived
  await page.getByLabel(/I have reviewed/).check();
  await page.getByRole("button", { name: /^Start 1/ }).click();

  await page.getByRole("heading", { name: "Progress", level: 1 }).waitFor();
  await page.getByRole("link", { name: "mail01", exact: true }).click();
  await page.getByText("Deltas").first().waitFor(LONG);
  await w.shot(page, "job");
  await w.go(page, "jobs", "Progress");
  await act(page, "mail01", "Finalize…");
  await w.shot(page, "confirm");
  await dialog(page).getByRole("button", { name: "Finalize", exact: true }).click();
  await page.getByText("completed", { exact: true }).first().waitFor(LONG);
  await w.shot(page, "jobs");

  // Where it is now: the job's page names the VM in CloudStack, which runs.
  await page.getByRole("link", { name: "mail01", exact: true }).click();
  await showsState(page, "mail01", "completed");
  await page.getByRole("tab", { name: "Details" }).click();
  const [vm] = await w.imported("mail01");
  await page.getByText(vm.id).waitFor();
  assert.equal(vm.state, "Running");
  await page.getByRole("tab", { name: "Report" }).click();
  await page.getByText("Downtime", { exact: true }).waitFor();
});
