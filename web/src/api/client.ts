// The only place that talks to the service. Every answer that is not a success is thrown as ApiError.
import type { ApiErrorBody } from "./types";

declare global {
  interface Window {
    __V2C__?: { apiBase?: string };
  }
}

export const apiBase = (window.__V2C__?.apiBase ?? "").replace(/\/+$/, "");
const otherOrigin = /^https?:\/\//.test(apiBase) && new URL(apiBase).origin !== window.location.origin;
const credentials: RequestCredentials = otherOrigin ? "include" : "same-origin";
export const withCredentials = otherOrigin;

export class ApiError extends Error {
  readonly status: number;
  readonly code?: string;
  readonly hint?: string;
  constructor(status: number, body: Partial<ApiErrorBody>) {
    super(body.detail || (status === 0 ? "The service does not answer" : `The service answered with status ${status}`));
    this.status = status;
    this.code = body.code;
    this.hint = body.hint;
  }
}

let csrf: string | null = null;
let onUnauthorized: () => void = () => undefined;

export function setCsrf(token: string | null): void {
  csrf = token;
}
/** What a session could see goes, and the login comes. */
export const endSession = (): void => onUnauthorized();
export function whenUnauthorized(f: () => void): void {
  onUnauthorized = f;
}

export type Query = Record<string, string | number | boolean | null | undefined>;

export function url(path: string, query: Query = {}): string {
  const pairs = Object.entries(query)
    .filter(([, v]) => v !== undefined && v !== null && v !== "" && v !== false)
    .map(([k, v]) => `${encodeURIComponent(k)}=${encodeURIComponent(String(v))}`);
  return `${apiBase}${path}${pairs.length ? `?${pairs.join("&")}` : ""}`;
}

async function send(method: string, path: string, query: Query | undefined, body: unknown, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET" && csrf) headers["X-CSRF-Token"] = csrf;
  let response: Response;
  try {
    response = await fetch(url(path, query), {
      method, headers, credentials, signal, cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (e) {
    if (e instanceof DOMException && e.name === "AbortError") throw e;
    throw new ApiError(0, {});
  }
  if (response.ok) return response;
  let error: Partial<ApiErrorBody> = {};
  try {
    error = (await response.json()) as ApiErrorBody;
  } catch {
    // A proxy's error page: the status says it.
  }
  if (response.status === 401 && path !== "/api/v1/login") onUnauthorized();
  throw new ApiError(response.status, error);
}

async function json<T>(response: Response): Promise<T> {
  return response.status === 204 ? (undefined as T) : ((await response.json()) as T);
}

export const api = {
  get: async <T>(path: string, query?: Query, signal?: AbortSignal) => json<T>(await send("GET", path, query, undefined, signal)),
  text: async (path: string, query?: Query, signal?: AbortSignal) => (await send("GET", path, query, undefined, signal)).text(),
  post: async <T>(path: string, body?: unknown) => json<T>(await send("POST", path, undefined, body)),
  put: async <T>(path: string, body: unknown) => json<T>(await send("PUT", path, undefined, body)),
  patch: async <T>(path: string, body: unknown) => json<T>(await send("PATCH", path, undefined, body)),
  delete: async (path: string) => json<void>(await send("DELETE", path, undefined, undefined)),
};

export const seg = encodeURIComponent;
