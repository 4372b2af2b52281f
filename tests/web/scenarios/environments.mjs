// Servers that are added, refused, changed and removed: nothing is saved that was not tested.
import assert from "node:assert/strict";
import { choose, dialog, inSight, scenario, until } from "../lib.mjs";
import { accept, addCloudStack, addVcenter, fillCloudStack, fillVcenter, row, save } from "../servers.mjs";

await scenario(async (w) => {
  const saved = async (name) => (await w.call("GET", "/api/v1/environments")).body.some((e) => e.name === name);
  const page = await w.login("operator");
  await w.go(page, "environments", "Environments");

  // The password is sent only to a server whose certificate was accepted, and is refused by it.
  await fillVcenter(w, page, "Refused", { password: "wrong" });
  await save(page);
  await accept(page, w.lab.vcenter.sha256);
  const refusal = dialog(page).getByRole("alert").filter({ hasText: "login as" });
  await refusal.waitFor();
  await until(() => inSight(page, refusal), "the refusal is in sight");
  await w.axe(page, "an environment that is refused");
  assert.equal(await saved("Refused"), false);
  await dialog(page).getByLabel("Password", { exact: true }).fill(w.lab.vcenter.password);
  await save(page);
  await row(page, "Refused").waitFor();
  assert.equal(await saved("Refused"), true);

  // Another fingerprint than the server's: the server's own is offered, and nothing is saved without it.
  await fillVcenter(w, page, "Other", { thumbprint: "AA:".repeat(31) + "AA" });
  await save(page);
  await dialog(page).getByText("Its certificate is not trusted").waitFor();
  assert.ok((await dialog(page).innerText()).includes(w.lab.vcenter.sha256));
  assert.equal(await saved("Other"), false);
  await page.keyboard.press("Escape");
  await dialog(page).waitFor({ state: "hidden" });
  assert.equal(await row(page, "Other").count(), 0);

  await fillCloudStack(w, page, "Wrong key", { secret: "wrong" });
  await save(page);
  await accept(page, w.lab.cloudstack.sha256);
  await dialog(page).getByRole("alert").filter({ hasText: "check cloudstack.api_key" }).waitFor();
  assert.equal(await saved("Wrong key"), false);
  await page.keyboard.press("Escape");
  await dialog(page).waitFor({ state: "hidden" });

  await addVcenter(w, page, "Hall B");
  await addCloudStack(w, page, "Cloud B");
  // What was saved can be used: the secret is the service's now, and not in any answer.
  await page.getByRole("button", { name: "Change Hall B" }).click();
  assert.equal(await dialog(page).getByLabel("Password", { exact: true }).inputValue(), "");
  await dialog(page).getByLabel("Name").fill("Hall C");
  await save(page);
  await row(page, "Hall C").waitFor();
  await w.go(page, "vms", "Virtual machines");
  await choose(page, "vCenter", "Hall C");
  await page.getByText("mail01", { exact: true }).waitFor();

  await w.go(page, "environments", "Environments");
  for (const name of ["Refused", "Hall C", "Cloud B"]) {
    await page.getByRole("button", { name: `Remove ${name}` }).click();
    await page.getByRole("tooltip").getByRole("button", { name: "Remove" }).click();
    await row(page, name).waitFor({ state: "detached" });
    assert.equal(await saved(name), false);
  }
});
