// Routes live behind the hash: the page works below any prefix, and on any server of files.
import { useSyncExternalStore } from "react";

export interface Route {
  path: string[];
  query: URLSearchParams;
}

export function parseHash(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean).map((p) => {
    try {
      return decodeURIComponent(p);
    } catch {
      return p;
    }
  });
  return { path: parts, query: new URLSearchParams(query) };
}

export function href(path: string, query: Record<string, string | undefined> = {}): string {
  const q = new URLSearchParams(Object.entries(query).filter((e): e is [string, string] => Boolean(e[1])));
  const text = q.toString();
  return `#${path}${text ? `?${text}` : ""}`;
}

export function go(path: string, query: Record<string, string | undefined> = {}): void {
  window.location.hash = href(path, query);
}

/** The same page with other parameters; it makes no step to go back to. */
export function replaceQuery(change: Record<string, string | undefined>): void {
  const { path, query } = parseHash(window.location.hash);
  for (const [k, v] of Object.entries(change)) {
    if (v) query.set(k, v);
    else query.delete(k);
  }
  const text = query.toString();
  history.replaceState(null, "", `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`);
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}

let cached: { hash: string; route: Route } | null = null;
function current(): Route {
  const hash = window.location.hash;
  if (cached?.hash !== hash) cached = { hash, route: parseHash(hash) };
  return cached.route;
}

export function useRoute(): Route {
  return useSyncExternalStore((changed) => {
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, current);
}
