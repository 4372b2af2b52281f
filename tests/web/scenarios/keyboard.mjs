// One whole pass without a mouse: log in, choose a VM, plan, start, and a dialog.  What has the focus is seen, and the
// focus returns from where it was sent.
import assert from "node:assert/strict";
import { dialog, scenario, until } from "../lib.mjs";

const MOST = 150; // presses to anything on a page

await scenario(async (w) => {
  const page = await w.open();
  const press = (key) => page.keyboard.press(key);
  const has = async (target) => (await target.count()) > 0 && target.first().evaluate((e) => e === document.activeElement);

  /** A picture of a thing and the little around it where a ring is drawn. */
  async function picture(target, margin) {
    const box = await target.boundingBox();
    const x = Math.max(0, box.x - margin), y = Math.max(0, box.y - margin);
    return page.screenshot({ clip: { x, y, width: box.width + 2 * margin, height: box.height + 2 * margin }, animations: "disabled" });
  }
  /** Goes to a thing; that it looks other with the focus than without is looked at where `margin` is given. */
  async function tabTo(target, { key = "Tab", margin = 0 } = {}) {
    await target.waitFor();
    for (let i = 0; !(await has(target)); i++) {
      assert.ok(i < MOST, `${target} cannot be reached by ${key}`);
      await press(key);
    }
    if (!margin) return;
    const other = key === "Tab" ? "Shift+Tab" : "Tab";
    const held = await picture(target, margin);
    await press(other);
    assert.equal(await has(target), false);
    const left = await picture(target, margin);
    await press(key);
    assert.equal(await has(target), true, "and back");
    assert.notDeepEqual(held, left, `the focus on ${target} is not seen`);
  }
  const button = (name) => page.getByRole("button", { name, exact: typeof name === "string" }).first();
  /** Takes the first choice of a list. */
  async function pick(label, how) {
    const box = page.getByRole("combobox", { name: label, exact: true });
    await tabTo(box, how);
    await press("ArrowDown");
    const options = page.locator(".ant-select-item-option:visible");
    await options.first().waitFor();
    await press("Enter");
    await options.first().waitFor({ state: "hidden" });
  }

  await page.goto(`${w.url}/`);
  await until(() => has(page.getByRole("textbox", { name: "User" })), "the first field has the focus");
  await page.keyboard.type("operator");
  await press("Tab");
  await page.keyboard.type(w.passwords.operator);
  await tabTo(button("Log in"), { margin: 4 });
  await press("Enter");
  await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();

  await press("Tab");
  assert.equal(await has(page.getByRole("link", { name: "Go to the content" })), true, "the way past the menu comes first");
  await press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await tabTo(page.getByRole("menu").first(), { key: "Shift+Tab" });
  for (let i = 0; !(await has(page.getByRole("menuitem", { name: "Virtual machines" }))); i++) {
    assert.ok(i < 10, "the menu has no such item");
    await press("ArrowDown");
  }
  await press("Enter");
  await page.getByRole("heading", { name: "Virtual machines", level: 1 }).waitFor();

  await tabTo(page.getByRole("checkbox", { name: "Select key01", exact: true }), { margin: 4 });
  await press("Space");
  await tabTo(button(/^Plan 1/), { key: "Shift+Tab", margin: 4 });
  await press("Enter");
  await page.getByRole("heading", { name: "Plan", level: 1 }).waitFor();
  await pick("CloudStack", { margin: 12 });
  await tabTo(button("key01"), { margin: 4 });
  await press("Enter");
  for (const label of ["Zone", "Cluster", "Storage pool", "Service offering", "OS type", "Disk controller", "NIC adapter"]) await pick(label);
  await tabTo(page.getByRole("tab", { name: "Placement" }), { key: "Shift+Tab" });
  await press("ArrowRight");
  await press("Enter");
  await pick(/VM Network/);
  await tabTo(page.getByRole("checkbox", { name: /I have reviewed/ }));
  await press("Space");
  await tabTo(button(/^Start 1/), { margin: 4 });
  await press("Enter");
  await page.getByRole("heading", { name: "Progress", level: 1 }).waitFor();

  // A dialog takes the focus, holds it, and gives it back.
  const menu = page.getByRole("button", { name: "Actions for key01", exact: true });
  async function openCancel() {
    await tabTo(menu);
    await press("Enter");
    const item = page.getByRole("menuitem", { name: "Cancel…", exact: true });
    await item.waitFor();
    for (let i = 0; !(await has(item)); i++) {
      assert.ok(i < 20, "the menu has no such item");
      await press("ArrowDown");
    }
    await press("Enter");
    await dialog(page).waitFor();
    await until(() => has(dialog(page).getByLabel(/to confirm/)), "the field has the focus");
  }
  await openCancel();
  for (let i = 0; i < 12; i++) {
    await press("Tab");
    // Past the end it is the browser's own, and comes back into the dialog.
    const where = await page.evaluate(() => document.activeElement === document.body || Boolean(document.activeElement.closest("[role=dialog]")));
    assert.equal(where, true, "nothing behind the dialog gets the focus");
  }
  await press("Escape");
  await dialog(page).waitFor({ state: "hidden" });
  await until(() => has(menu), "the focus is where it was");
  await openCancel();
  await page.keyboard.type("key01");
  await press("Enter");
  await dialog(page).waitFor({ state: "hidden" });
  await until(async () => (await w.source("key01")).snapshots.length === 0 && (await w.call("GET", "/api/v1/jobs?state=active")).body.total === 0, "it is cancelled");
});
