// Live jobs: server-sent events, laid into the query cache in batches; where the stream breaks, polling.
import type { QueryClient } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { announcement, patchPage } from "../lib/live";
import { forget, type Progress, tell, withProgress } from "../lib/progress";
import { remember } from "../lib/samples";
import { url, withCredentials } from "./client";
import type { Job, JobDetail, JobPage } from "./types";

export type Link = "connecting" | "live" | "polling" | "down";

let link: Link = "connecting";
const listeners = new Set<() => void>();
function setLink(next: Link): void {
  if (next === link) return;
  link = next;
  for (const l of listeners) l();
}
export function useLink(): Link {
  return useSyncExternalStore(
    (l) => {
      listeners.add(l);
      return () => listeners.delete(l);
    },
    () => link,
  );
}
export const isLive = () => link === "live";

const FLUSH_MS = 250;
const RETRY_MS = 3000;

// ---- what is read out ----------------------------------------------------------------------------------

let said = "";
const hearers = new Set<() => void>();

function say(text: string): void {
  said = text;
  for (const l of hearers) l();
}
export function useAnnouncement(): string {
  return useSyncExternalStore(
    (l) => {
      hearers.add(l);
      return () => hearers.delete(l);
    },
    () => said,
  );
}

export function startStream(client: QueryClient): () => void {
  let source: EventSource | null = null;
  let retry: number | undefined;
  let flushing: number | undefined;
  let rereading: number | undefined;
  let stopped = false;
  const pending = new Map<string, Job>();
  const states = new Map<string, string>();

  // A change of state may move a job into or out of a list that is filtered or counted: those are read
  // again, at most every two seconds.
  const reread = () => {
    if (rereading !== undefined) return;
    rereading = window.setTimeout(() => {
      rereading = undefined;
      void client.invalidateQueries({ queryKey: ["jobs"] });
      void client.invalidateQueries({ queryKey: ["overview"] });
      void client.invalidateQueries({ queryKey: ["waves"] });
    }, 2000);
  };

  const flush = () => {
    flushing = undefined;
    const changed = new Map(pending);
    pending.clear();
    let stale = false;
    const moved: Job[] = [];
    for (const job of changed.values()) {
      remember(job);
      const before = states.get(job.id);
      const now = `${job.state} ${job.required_action ?? ""}`;
      if (before !== undefined && before !== now) moved.push(job);
      if (before === undefined && job.state === "queued") stale = true;
      states.set(job.id, now);
      const old = client.getQueryData<JobDetail>(["job", job.id]);
      if (old) {
        client.setQueryData<JobDetail>(["job", job.id], { ...old, ...job });
        if (old.state !== job.state || old.stage !== job.stage || old.delta_rounds !== job.delta_rounds) {
          void client.invalidateQueries({ queryKey: ["job", job.id] });
          void client.invalidateQueries({ queryKey: ["job-events", job.id] });
          void client.invalidateQueries({ queryKey: ["job-report", job.id] });
        }
      }
    }
    patchPages(changed);
    if (moved.length > 0) say(announcement(moved));
    if (stale || moved.length > 0) reread();
  };

  const patchPages = (changed: Map<string, Partial<Job>>) => {
    for (const [key, page] of client.getQueriesData<JobPage>({ queryKey: ["jobs"] })) {
      const next = page && patchPage(page, changed);
      if (next && next !== page) client.setQueryData(key, next);
    }
  };

  const onProgress = (event: MessageEvent<string>) => {
    const list = JSON.parse(event.data) as Progress[];
    tell(list);
    for (const p of list) {
      remember({ ...p, state: "running" });
      const old = client.getQueryData<JobDetail>(["job", p.id]);
      if (old) client.setQueryData<JobDetail>(["job", p.id], withProgress(old, p));
    }
  };

  const onJob = (event: MessageEvent<string>) => {
    const job = JSON.parse(event.data) as Job;
    pending.set(job.id, job);
    forget(job.id);
    flushing ??= window.setTimeout(flush, FLUSH_MS);
  };

  const everything = () => void client.invalidateQueries();

  const connect = () => {
    if (stopped) return;
    source = new EventSource(url("/api/v1/stream"), { withCredentials });
    source.onopen = () => {
      // What happened while there was no stream is not replayed on a new one: read it.
      if (link === "polling" || link === "down") everything();
      setLink("live");
    };
    source.addEventListener("job", onJob as EventListener);
    source.addEventListener("progress", onProgress as EventListener);
    source.addEventListener("gone", reread);
    source.addEventListener("reset", everything);
    source.onerror = () => {
      // CONNECTING: the browser tries again by itself, with Last-Event-ID.
      if (source?.readyState === EventSource.CLOSED) {
        source.close();
        retry = window.setTimeout(connect, RETRY_MS);
      }
      void probe();
    };
  };

  // Without a stream: whether the service answers at all decides what the page says.
  const probe = async () => {
    try {
      const response = await fetch(url("/health"), { cache: "no-store" });
      if (source?.readyState !== EventSource.OPEN) setLink(response.ok ? "polling" : "down");
    } catch {
      setLink("down");
    }
  };
  const timer = window.setInterval(() => {
    if (source?.readyState !== EventSource.OPEN) void probe();
  }, 5000);

  connect();
  return () => {
    stopped = true;
    source?.close();
    window.clearTimeout(retry);
    window.clearTimeout(flushing);
    window.clearTimeout(rereading);
    window.clearInterval(timer);
    setLink("connecting");
  };
}
