// A few keys for those who do not like to reach for the mouse, and the list of them.
import { Dialog } from "./dialog";
import { useEffect, useState } from "react";
import { go } from "../lib/router";

const PAGES: Record<string, [string, string]> = {
  o: ["/overview", "Overview"], v: ["/vms", "Virtual machines"], p: ["/plan", "Plan"], j: ["/jobs", "Progress"], w: ["/waves", "Waves"],
  e: ["/environments", "Environments"], s: ["/settings", "Settings"],
};
const SECOND_KEY_MS = 1500;

/** Where a key is a letter of a text, or a dialog has the word, it is not for us. */
export function isForUs(event: KeyboardEvent): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return false;
  const target = event.target as HTMLElement | null;
  if (target?.closest("input, textarea, select, [contenteditable], [role=combobox], [role=dialog], [role=menu]")) return false;
  return document.querySelector(".ant-modal-wrap:not([style*='display: none']), .ant-drawer-open") === null;
}

export const showKeys = () => window.dispatchEvent(new KeyboardEvent("keydown", { key: "?" }));

export function Shortcuts() {
  const [open, setOpen] = useState(false);
  useEffect(() => {
    let went = 0;
    const pressed = (event: KeyboardEvent) => {
      if (!isForUs(event)) return;
      const page = PAGES[event.key];
      if (event.key === "/") {
        const search = document.querySelector<HTMLInputElement>("#main .ant-input-search input");
        if (!search) return;
        event.preventDefault();
        search.focus();
        search.select();
      } else if (event.key === "?") setOpen(true);
      else if (event.key === "g") went = Date.now();
      else if (page && Date.now() - went < SECOND_KEY_MS) {
        went = 0;
        go(page[0]);
      }
    };
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, []);
  return (
    <Dialog open={open} title="Keys" onCancel={() => setOpen(false)} footer={null} width={420}>
      <dl className="keys">
        <dt><kbd>/</kbd></dt><dd>Search on this page</dd>
        <dt><kbd>?</kbd></dt><dd>These keys</dd>
        <dt><kbd>Esc</kbd></dt><dd>Close a dialog or menu</dd>
        {Object.entries(PAGES).map(([key, [, name]]) => (
          <div key={key}><dt><kbd>g</kbd> <kbd>{key}</kbd></dt><dd>{name}</dd></div>
        ))}
      </dl>
    </Dialog>
  );
}
