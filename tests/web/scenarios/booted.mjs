// A real guest: migrated in the browser, and seen booted on the other side with its files whole.
import assert from "node:assert/strict";
import { dialog, LONG, scenario, showsState, until } from "../lib.mjs";

await scenario(async (w) => {
  const id = await w.begin("live01", { delta_interval: 2 });
  const page = await w.login("operator");
  await w.go(page, `jobs/${id}`, /live01/);
  await page.getByText("Deltas").first().waitFor(LONG);
  await page.getByRole("button", { name: "Finalize…", exact: true }).click();
  await dialog(page).getByRole("button", { name: "Finalize", exact: true }).click();
  await showsState(page, "live01", "completed");
  await page.getByRole("tab", { name: "Details" }).click();
  const [vm] = await w.imported("live01");
  await page.getByText(vm.id).waitFor();
  const { boot, state } = await until(async () => {
    const [now] = await w.imported("live01");
    return now.boot?.is_verified ? now : null;
  }, "the guest has booted and looked at its files", 90);
  assert.equal(state, "Running");
  assert.ok(boot.is_up && boot.files > 0, boot.line);
  assert.equal(boot.bad_files, 0, boot.line);
});
