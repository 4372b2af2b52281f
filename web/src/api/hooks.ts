import { QueryClient, useMutation, useQuery, useQueryClient, keepPreviousData } from "@tanstack/react-query";
import { api, ApiError, type Query, seg } from "./client";
import { isLive, useLink } from "./stream";
import type {
  About, ActionInput, AuditPage, Environment, EnvironmentInput, EnvironmentTest, Job, JobAction, JobChange, JobDetail, JobEvent,
  JobPage, JobReport, Me, NewJobs, Overview, RenderedSpecs, Resource, ResourceKind, Settings, SpecInput, Token, User, Vm,
  Wave, WaveInput,
} from "./types";

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      refetchOnWindowFocus: true,
      // What was refused is refused again; what did not arrive may arrive.
      retry: (count, error) => count < 2 && error instanceof ApiError && (error.status === 0 || error.status >= 502),
    },
  },
});

/** Slow while the stream says what changes, quick without it. */
function usePoll(live: number, otherwise: number): () => number {
  useLink();
  return () => (isLive() ? live : otherwise);
}

export const useMe = () =>
  useQuery({ queryKey: ["me"], queryFn: ({ signal }) => api.get<Me>("/api/v1/me", {}, signal), staleTime: Infinity });

export const useAbout = () => useQuery({ queryKey: ["about"], queryFn: () => api.get<About>("/api/v1/about"), staleTime: Infinity });

export const useOverview = () =>
  useQuery({
    queryKey: ["overview"],
    queryFn: ({ signal }) => api.get<Overview>("/api/v1/overview", {}, signal),
    refetchInterval: usePoll(10_000, 5_000),
  });

export const useJobs = (query: Query) =>
  useQuery({
    queryKey: ["jobs", query],
    queryFn: ({ signal }) => api.get<JobPage>("/api/v1/jobs", query, signal),
    placeholderData: keepPreviousData,
    // How far each disk is, is not in the stream.
    refetchInterval: (q) => (isLive() && !q.state.data?.items.some((j) => j.state === "running") ? 30_000 : 4_000),
  });

export const useJob = (id: string) =>
  useQuery({
    queryKey: ["job", id],
    queryFn: ({ signal }) => api.get<JobDetail>(`/api/v1/jobs/${seg(id)}`, {}, signal),
    // Disks are not in the stream.
    refetchInterval: (q) => (q.state.data && isOver(q.state.data) ? false : 3_000),
  });

export const useJobEvents = (id: string, active: boolean) =>
  useQuery({
    queryKey: ["job-events", id],
    queryFn: ({ signal }) => api.get<JobEvent[]>(`/api/v1/jobs/${seg(id)}/events`, {}, signal),
    refetchInterval: active ? 10_000 : false,
  });

export const useJobReport = (id: string, enabled = true) =>
  useQuery({
    queryKey: ["job-report", id],
    queryFn: ({ signal }) => api.get<JobReport>(`/api/v1/jobs/${seg(id)}/report`, {}, signal),
    enabled,
  });

export const useJobLog = (id: string, lines: number, follow: boolean) =>
  useQuery({
    queryKey: ["job-log", id, lines],
    queryFn: ({ signal }) => api.text(`/api/v1/jobs/${seg(id)}/log`, { lines }, signal),
    refetchInterval: follow ? 2_000 : false,
    placeholderData: keepPreviousData,
  });

export const useEnvironments = () =>
  useQuery({ queryKey: ["environments"], queryFn: ({ signal }) => api.get<Environment[]>("/api/v1/environments", {}, signal) });

export const useVms = (env: string | null | undefined, query: Query = {}) =>
  useQuery({
    queryKey: ["vms", env, query],
    queryFn: ({ signal }) => api.get<Vm[]>(`/api/v1/environments/${seg(env!)}/vms`, query, signal),
    enabled: Boolean(env),
    staleTime: 60_000,
  });

export const useResources = (env: string | null | undefined, what: ResourceKind, zoneid?: string, enabled = true) =>
  useQuery({
    queryKey: ["resources", env, what, zoneid ?? ""],
    queryFn: ({ signal }) => api.get<Resource[]>(`/api/v1/environments/${seg(env!)}/resources/${what}`, { zoneid }, signal),
    enabled: Boolean(env) && enabled,
    staleTime: 300_000,
  });

export const useWaves = () =>
  useQuery({
    queryKey: ["waves"],
    queryFn: ({ signal }) => api.get<Wave[]>("/api/v1/waves", {}, signal),
    refetchInterval: usePoll(30_000, 10_000),
  });

export const useUsers = (enabled: boolean) =>
  useQuery({ queryKey: ["users"], queryFn: () => api.get<User[]>("/api/v1/users"), enabled });
export const useTokens = () => useQuery({ queryKey: ["tokens"], queryFn: () => api.get<Token[]>("/api/v1/tokens") });
export const useSettings = () => useQuery({ queryKey: ["settings"], queryFn: () => api.get<Settings>("/api/v1/settings") });
export const useAudit = (limit: number, offset: number, enabled: boolean) =>
  useQuery({
    queryKey: ["audit", limit, offset],
    queryFn: () => api.get<AuditPage>("/api/v1/audit", { limit, offset }),
    enabled,
    placeholderData: keepPreviousData,
  });

/** A change, and what has to be read again after it. */
export function useChange<I, O>(run: (input: I) => Promise<O>, ...stale: string[]) {
  const client = useQueryClient();
  return useMutation<O, Error, I>({
    mutationFn: run,
    onSettled: () => Promise.all(stale.map((key) => client.invalidateQueries({ queryKey: [key] }))),
  });
}

export const actOn = (id: string, action: JobAction, input: ActionInput = {}) =>
  api.post<Job>(`/api/v1/jobs/${seg(id)}/actions/${action}`, input);
export const testEnvironment = (input: EnvironmentInput) => api.post<EnvironmentTest>("/api/v1/environments/test", input);
export const renderSpecs = (input: SpecInput) => api.post<RenderedSpecs>("/api/v1/specs/render", input);
export const createJobs = (input: NewJobs) => api.post<Job[]>("/api/v1/jobs", input);
export const changeJob = (id: string, input: JobChange) => api.patch<Job>(`/api/v1/jobs/${seg(id)}`, input);
export const forgetJob = (id: string) => api.delete(`/api/v1/jobs/${seg(id)}`);
export const listJobs = (query: Query) => api.get<JobPage>("/api/v1/jobs", query);
export const deleteWave = (name: string) => api.delete(`/api/v1/waves/${seg(name)}`);
export const putWave = (name: string, input: WaveInput) => api.put<Wave>(`/api/v1/waves/${seg(name)}`, input);

export const isOver = (job: Pick<Job, "state">) => ["completed", "failed", "stopped", "cancelled"].includes(job.state);
