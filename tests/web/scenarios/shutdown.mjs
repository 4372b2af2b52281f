// A guest that does not shut down: the overview calls a person, who decides.
import assert from "node:assert/strict";
import { act, dialog, scenario, showsState } from "../lib.mjs";

async function asks(w, name) {
  const id = await w.begin(name, { shutdown_mode: "manual" });
  await w.untilJob(id, (j) => j.actions.includes("finalize"), `${name} can be finalized`);
  await w.call("POST", `/api/v1/jobs/${id}/actions/finalize`, { now: true });
  await w.untilJob(id, (j) => j.required_action === "shutdown_choice", `${name} asks`);
  return id;
}

await scenario(async (w) => {
  const [first, second] = await Promise.all([asks(w, "old01"), asks(w, "old02")]);
  const page = await w.login("operator");
  const calls = page.locator(".ant-card").filter({ hasText: "Needs a person" });
  await calls.getByRole("link", { name: "old02" }).waitFor();
  await page.getByRole("navigation").getByText("2", { exact: true }).waitFor(); // the badge
  await w.shot(page, "needs-a-person");

  // Done by hand, it is said; but it is not so, and nothing goes on.
  await act(page, "old01", "Decide the shutdown…");
  const confirm = dialog(page).getByRole("button", { name: "Decide the shutdown" });
  assert.equal(await confirm.isDisabled(), true, "nothing is chosen beforehand");
  await dialog(page).getByRole("radio", { name: /shut it down myself/ }).check();
  await confirm.click();
  await dialog(page).getByText(/still powered on/).waitFor();
  await w.axe(page, "a decision that is refused");
  assert.equal((await w.job(first)).required_action, "shutdown_choice");
  await dialog(page).getByRole("button", { name: "Back" }).click();
  await w.power("old01", "off");
  await confirm.click();
  await dialog(page).waitFor({ state: "hidden" });
  await calls.getByRole("link", { name: "old01" }).waitFor({ state: "detached" });

  await calls.getByRole("link", { name: "old02" }).click();
  await showsState(page, "old02", "needs you");
  assert.equal((await w.source("old02")).power, "on");
  await page.getByRole("button", { name: "Decide the shutdown…" }).click();
  await dialog(page).getByRole("radio", { name: /Power it off/ }).check();
  await dialog(page).getByRole("button", { name: "Decide the shutdown" }).click();
  await showsState(page, "old02", "completed");
  await w.go(page, `jobs/${first}`, /old01/);
  await showsState(page, "old01", "completed");
  assert.equal((await w.source("old02")).power, "off");
  assert.equal((await w.job(second)).state, "completed");
  await w.go(page, "overview", "Overview");
  await page.getByText("Nothing needs you").waitFor();
});
