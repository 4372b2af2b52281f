// A viewer sees everything, in the dark on a phone, and can begin nothing: not by a button, and not past the page.
import assert from "node:assert/strict";
import { PHONE, scenario } from "../lib.mjs";

/** A request with the session of the page, as the page itself makes them. */
const send = (page, method, path, body) => page.evaluate(async ([method, path, body]) => {
  const { csrf } = await (await fetch("/api/v1/me")).json();
  const answer = await fetch(path, { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf } });
  return { status: answer.status, body: await answer.json().catch(() => null) };
}, [method, path, body]);

const ACTIONS = /^(Actions for|Start|Preflight|Finalize|Cancel…|Roll back|Retry|Pause|Stop|Plan \d|Add$|Change |Remove )/;

await scenario(async (w) => {
  const id = await w.begin("tmp01");
  await w.untilJob(id, (j) => j.state === "waiting", "tmp01 has copied its base");
  const page = await w.login("viewer", PHONE, true);
  await w.shot(page, "phone-overview");
  for (const [route, heading, shows] of [
    ["overview", "Overview", "Throughput"], ["jobs", "Progress", "tmp01"], [`jobs/${id}`, /tmp01/, "Deltas"], ["vms", "Virtual machines", "tmp01"],
    ["plan", "Plan", "No VM is planned"], ["environments", "Environments", "of the configuration file"],
  ]) {
    await w.go(page, route, heading);
    await page.getByText(shows).first().waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, `${route}: a phone need not scroll sideways`);
    for (const button of await page.getByRole("button").all())
      assert.doesNotMatch(`${await button.getAttribute("aria-label") ?? await button.innerText()}`, ACTIONS, route);
    if (route === "jobs") await w.shot(page, "phone-dark");
  }
  await w.go(page, "settings/limits", "Settings");
  await page.getByLabel("Jobs that copy or cut over at once").waitFor();
  assert.equal(await page.getByRole("button", { name: "Save" }).count(), 0);

  const spec = { vm: { name: "web01" } };
  for (const [method, path, body] of [
    ["POST", `/api/v1/jobs/${id}/actions/cancel`, {}], ["POST", `/api/v1/jobs/${id}/actions/finalize`, {}], ["POST", "/api/v1/jobs", { vms: [spec] }],
    ["PUT", "/api/v1/settings", { max_workers: 1 }], ["PUT", "/api/v1/waves/night", {}],
  ]) assert.equal((await send(page, method, path, body)).status, 403, `${method} ${path}`);
  assert.equal((await w.job(id)).state, "waiting", "nothing has come of it");

  // The same by one who may, so that it is the role that was refused.
  const operator = await w.login("operator");
  assert.equal((await send(operator, "POST", `/api/v1/jobs/${id}/actions/cancel`, {})).status, 200);
  await w.untilJob(id, (j) => j.state === "cancelled", "it is cancelled");
});
