// The plan of this browser, kept across reloads; one for each user, and without any secret in it.
import { useSyncExternalStore } from "react";
import { load, save } from "./local";
import { emptyPlan, type Plan } from "./plan";

let key = "";
let plan: Plan = emptyPlan();
let saving: number | undefined;
const listeners = new Set<() => void>();

function write(): void {
  window.clearTimeout(saving);
  saving = undefined;
  if (key) save(key, plan);
}

export function openPlan(user: string): void {
  write();
  key = `v2c.plan.${user}`;
  const stored = load<Plan | null>(key, null);
  plan = stored?.version === 1 ? { ...emptyPlan(), ...stored } : emptyPlan();
  for (const l of listeners) l();
}

export function changePlan(change: (plan: Plan) => Plan): void {
  plan = change(plan);
  saving ??= window.setTimeout(write, 300);
  for (const l of listeners) l();
}

// A reload within those milliseconds loses nothing.
window.addEventListener("pagehide", write);

export function usePlan(): Plan {
  return useSyncExternalStore(
    (l) => {
      listeners.add(l);
      return () => listeners.delete(l);
    },
    () => plan,
  );
}
