// Steps on the page of environments.
import assert from "node:assert/strict";
import { choose, dialog } from "./lib.mjs";

/** Opens the dialog and fills it; a field that is given as undefined stays empty. */
export async function fillVcenter(w, page, name, { password = w.lab.vcenter.password, thumbprint } = {}) {
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await dialog(page).getByLabel("Name").fill(name);
  await dialog(page).getByLabel("Host").fill(w.lab.vcenter.address);
  await dialog(page).getByLabel("User").fill(w.lab.vcenter.user);
  await dialog(page).getByLabel("Password", { exact: true }).fill(password);
  if (thumbprint) await dialog(page).getByLabel(/Fingerprint/).fill(thumbprint);
}

export async function fillCloudStack(w, page, name, { secret = w.lab.cloudstack.secret_key } = {}) {
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await choose(page, "Kind", "CloudStack");
  await dialog(page).getByLabel("Name").fill(name);
  await dialog(page).getByLabel("URL of the API").fill(w.lab.cloudstack.endpoint);
  await dialog(page).getByLabel("API key").fill(w.lab.cloudstack.api_key);
  await dialog(page).getByLabel("Secret key").fill(secret);
}

export const save = (page) => dialog(page).getByRole("button", { name: "Test and save" }).click();

/** The certificate is shown and not yet trusted: its fingerprint is compared with the server's own, and accepted. */
export async function accept(page, fingerprint) {
  await dialog(page).getByText("Its certificate is not trusted").waitFor();
  assert.ok((await dialog(page).innerText()).includes(fingerprint), "the fingerprint shown is the server's");
  await dialog(page).getByRole("button", { name: "Accept" }).click();
}

export const row = (page, name) => page.getByRole("row").filter({ has: page.getByText(name, { exact: true }) });

async function isSaved(page, name) {
  await row(page, name).getByText("by fingerprint").waitFor();
  await dialog(page).waitFor({ state: "hidden" });
}

export async function addVcenter(w, page, name) {
  await fillVcenter(w, page, name);
  await save(page);
  await accept(page, w.lab.vcenter.sha256);
  await isSaved(page, name);
}

export async function addCloudStack(w, page, name) {
  await fillCloudStack(w, page, name);
  await save(page);
  await accept(page, w.lab.cloudstack.sha256);
  await isSaved(page, name);
}
