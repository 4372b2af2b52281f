// The service dies while a page is open: the page says so, and goes on by itself when it is back.
import assert from "node:assert/strict";
import { dialog, LONG, scenario, showsState } from "../lib.mjs";

await scenario(async (w) => {
  const id = await w.begin("net01");
  await w.untilJob(id, (j) => j.state === "waiting", "net01 makes deltas");
  const page = await w.login("operator");
  await w.go(page, `jobs/${id}`, /net01/);
  await page.getByRole("status", { name: "Connection: live" }).waitFor();
  await page.evaluate(() => { globalThis.isSamePage = true; });
  await w.ask("kill");
  await page.getByRole("status", { name: "Connection: disconnected" }).waitFor();
  await page.getByText("The service does not answer").first().waitFor();
  await page.getByRole("heading", { level: 1 }).filter({ hasText: "net01" }).waitFor(); // what was known stays
  await w.shot(page, "disconnected");
  await w.axe(page, "a page whose service is away");

  await w.ask("start");
  await page.getByRole("status", { name: "Connection: live" }).waitFor();
  await page.getByText("The service does not answer").waitFor({ state: "detached" });
  await page.getByText("Deltas").first().waitFor(LONG);
  await page.getByRole("button", { name: "Finalize…", exact: true }).click();
  await dialog(page).getByRole("button", { name: "Finalize", exact: true }).click();
  await showsState(page, "net01", "completed");
  assert.equal(await page.evaluate(() => globalThis.isSamePage), true, "nobody had to load it again");
});
