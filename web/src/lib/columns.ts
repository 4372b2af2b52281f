// Which columns of a table are shown, remembered in this browser.
import { useState } from "react";
import { load, save } from "./local";

/** Names that a table does not have (any more) are dropped; without a choice all but `off` are shown. */
export function shownColumns(stored: unknown, all: string[], off: string[] = []): string[] {
  if (!Array.isArray(stored)) return all.filter((k) => !off.includes(k));
  return all.filter((k) => stored.includes(k));
}

export function useColumns(table: string, all: string[], off: string[] = []): [string[], (shown: string[]) => void] {
  const key = `v2c.columns.${table}`;
  const [shown, setShown] = useState(() => shownColumns(load<unknown>(key, null), all, off));
  return [
    shown,
    (next) => {
      setShown(shownColumns(next, all));
      save(key, next);
    },
  ];
}
