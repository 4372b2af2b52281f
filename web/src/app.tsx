import {
  ApiOutlined, ApartmentOutlined, BulbOutlined, CloudServerOutlined, DashboardOutlined, DesktopOutlined, LogoutOutlined, MenuOutlined,
  ProfileOutlined, QuestionCircleOutlined, SettingOutlined, SyncOutlined, UserOutlined,
} from "@ant-design/icons";
import { useQueryClient } from "@tanstack/react-query";
import { Alert, App as AntApp, Badge, Button, Drawer, Dropdown, Grid, Layout, Menu, Result, Spin, Tag, Tooltip } from "antd";
import { lazy, Suspense, useEffect, useRef, useState } from "react";
import { api, ApiError, endSession, setCsrf, whenUnauthorized } from "./api/client";
import { useMe, useOverview } from "./api/hooks";
import { startStream, useAnnouncement, useLink } from "./api/stream";
import { ErrorBoundary } from "./components/boundary";
import { openLater } from "./components/dialog";
import { showKeys, Shortcuts } from "./components/shortcuts";
import { ErrorBox } from "./components/states";
import { openPlan, usePlan } from "./lib/plan-store";
import { go, useRoute } from "./lib/router";
import { Login } from "./pages/login";
import { SessionContext, useSession } from "./session";
import { setAppearance, useAppearance } from "./theme";
import type { Me } from "./api/types";

const pages = {
  overview: lazy(() => import("./pages/overview")),
  vms: lazy(() => import("./pages/vms")),
  plan: lazy(() => import("./pages/plan")),
  jobs: lazy(() => import("./pages/jobs")),
  job: lazy(() => import("./pages/job")),
  waves: lazy(() => import("./pages/waves")),
  environments: lazy(() => import("./pages/environments")),
  settings: lazy(() => import("./pages/settings")),
};

const NAV: { key: keyof typeof pages; label: string; icon: React.ReactNode }[] = [
  { key: "overview", label: "Overview", icon: <DashboardOutlined /> },
  { key: "vms", label: "Virtual machines", icon: <DesktopOutlined /> },
  { key: "plan", label: "Plan", icon: <ProfileOutlined /> },
  { key: "jobs", label: "Progress", icon: <SyncOutlined /> },
  { key: "waves", label: "Waves", icon: <ApartmentOutlined /> },
  { key: "environments", label: "Environments", icon: <CloudServerOutlined /> },
  { key: "settings", label: "Settings", icon: <SettingOutlined /> },
];

/** A new page has its title, and is read from its beginning; on the first one the focus is where the browser has it. */
function useArrival(): void {
  const { path } = useRoute();
  const place = path[0] === "jobs" && path[1] ? path.slice(0, 2).join("/") : (path[0] ?? "overview");
  const before = useRef(place);
  useEffect(() => {
    const nav = NAV.find((n) => n.key === place.split("/")[0]);
    document.title = `${nav ? `${nav.label} · ` : ""}v2c-engine`;
    if (before.current !== place) document.getElementById("main")?.focus({ preventScroll: true });
    before.current = place;
  }, [place]);
}

function Page() {
  const { path } = useRoute();
  const first = path[0] ?? "overview";
  const name = first === "jobs" && path[1] ? "job" : first;
  if (!(name in pages))
    return <Result status="404" title="There is no such page" extra={<Button href="#/overview">Overview</Button>} />;
  const Shown = pages[name as keyof typeof pages];
  // Another job is another page: nothing of the one before may be left in it.
  return <Shown key={name === "job" ? path[1] : name} />;
}

function Connection() {
  const link = useLink();
  const text = { connecting: "connecting", live: "live", polling: "polling", down: "disconnected" }[link];
  const help = {
    connecting: "The live connection is being made.",
    live: "Changes are shown as they happen.",
    polling: "There is no live connection: the page asks every few seconds.",
    down: "The service does not answer. What is shown may be old.",
  }[link];
  const color = { connecting: "default", live: "success", polling: "warning", down: "error" }[link];
  return (
    <Tooltip title={help}>
      <Tag color={color} icon={<ApiOutlined />} role="status" aria-label={`Connection: ${text}`}>
        {text}
      </Tag>
    </Tooltip>
  );
}

function Navigation({ onGo }: { onGo?: () => void }) {
  const { path } = useRoute();
  const plan = usePlan();
  const overview = useOverview();
  const counts: Record<string, number> = {
    plan: plan.drafts.length,
    jobs: overview.data?.needs_person.length ?? 0,
  };
  return (
    <nav aria-label="Main">
      <Menu
        theme="dark"
        mode="inline"
        selectedKeys={[path[0] ?? "overview"]}
        onClick={({ key }) => {
          go(`/${key}`);
          onGo?.();
        }}
        items={NAV.map((n) => ({
          key: n.key,
          icon: n.icon,
          label: (
            <span className="row-tight">
              <span className="grow">{n.label}</span>
              {counts[n.key] ? (
                <Badge count={counts[n.key]} color={n.key === "jobs" ? "#cf1322" : "#1668dc"} overflowCount={999} />
              ) : null}
            </span>
          ),
        }))}
      />
    </nav>
  );
}

/** Read out, not shown. */
function Announcer() {
  const text = useAnnouncement();
  return <div className="hidden" role="status" aria-live="polite">{text}</div>;
}

function Brand() {
  return (
    <a className="brand" href="#/overview" aria-label="v2c-engine, overview">
      <img src="./favicon.svg" alt="" />
      <span>v2c-engine</span>
    </a>
  );
}

function toContent(event: React.MouseEvent) {
  event.preventDefault(); // the hash is the page's address
  document.getElementById("main")?.focus();
}

function Shell() {
  const { user, role } = useSession();
  const { message } = AntApp.useApp();
  const client = useQueryClient();
  const wide = Grid.useBreakpoint().lg ?? true;
  const [open, setOpen] = useState(false);
  const appearance = useAppearance();
  const link = useLink();

  useArrival();
  useEffect(() => startStream(client), [client]);

  const logout = async () => {
    try {
      await api.post("/api/v1/logout");
      endSession();
    } catch (e) {
      void message.error(`You are still logged in: ${(e as Error).message}`);
    }
  };

  return (
    <Layout className="shell">
      <a className="skip" href="#main" onClick={toContent}>Go to the content</a>
      {wide && (
        <Layout.Sider width={208} theme="dark">
          <Brand />
          <Navigation />
        </Layout.Sider>
      )}
      {!wide && (
        <Drawer open={open} onClose={() => setOpen(false)} placement="left" size={240} title={null} closable={false}
          styles={{ body: { padding: 0, background: "#001529" } }} aria-label="Navigation">
          <Brand />
          <Navigation onGo={() => setOpen(false)} />
        </Drawer>
      )}
      <Layout>
        <Layout.Header className="header">
          {!wide && <Button type="text" icon={<MenuOutlined />} aria-label="Menu" onClick={() => setOpen(true)} />}
          <div className="grow muted nowrap" style={{ overflow: "hidden", textOverflow: "ellipsis" }}>
            {wide ? "VMware vSphere to Apache CloudStack" : "v2c-engine"}
          </div>
          <Connection />
          <Dropdown
            autoFocus trigger={["click"]}
            menu={{
              selectable: true,
              selectedKeys: [appearance],
              onClick: ({ key }) => setAppearance(key as typeof appearance),
              items: [{ key: "light", label: "Light" }, { key: "dark", label: "Dark" }, { key: "system", label: "As the system" }],
            }}
          >
            <Button type="text" icon={<BulbOutlined />} aria-label="Appearance" />
          </Dropdown>
          <Dropdown
            autoFocus trigger={["click"]}
            menu={{
              items: [
                { key: "who", label: `${user} (${role})`, disabled: true },
                { key: "keys", label: "Keys", icon: <QuestionCircleOutlined />, onClick: () => openLater(showKeys) },
                { key: "account", label: "Account", icon: <UserOutlined />, onClick: () => go("/settings/account") },
                { key: "logout", label: "Log out", icon: <LogoutOutlined />, onClick: () => void logout() },
              ],
            }}
          >
            <Button type="text" icon={<UserOutlined />} aria-label={`User ${user}`}>{wide ? user : null}</Button>
          </Dropdown>
        </Layout.Header>
        <main id="main" className="main" tabIndex={-1}>
          {link === "down" && (
            <Alert type="error" showIcon style={{ marginBottom: 16 }} title="The service does not answer"
              description="What is shown may be old. Running migrations do not depend on this page. It connects again by itself." />
          )}
          <ErrorBoundary key={useRoute().path.slice(0, 2).join("/")}>
            <Suspense fallback={<div role="status" aria-label="Loading" style={{ padding: 48, textAlign: "center" }}><Spin /></div>}>
              <Page />
            </Suspense>
          </ErrorBoundary>
        </main>
      </Layout>
      <Announcer />
      <Shortcuts />
    </Layout>
  );
}

function Session({ me }: { me: Me }) {
  const [opened, setOpened] = useState<string | null>(null);
  useEffect(() => {
    setCsrf(me.csrf);
    openPlan(me.user);
    setOpened(me.user);
  }, [me]);
  if (opened !== me.user) return null;
  return (
    <SessionContext.Provider value={me}>
      <Shell />
    </SessionContext.Provider>
  );
}

export function App() {
  const me = useMe();
  const client = useQueryClient();
  useEffect(() => {
    // A session that has ended: what it could see goes from memory with it.
    whenUnauthorized(() => {
      setCsrf(null);
      const error = new ApiError(401, { detail: "Log in first" });
      client.removeQueries({ predicate: (q) => q.queryKey[0] !== "me" });
      client.getQueryCache().find({ queryKey: ["me"] })?.setState({ data: undefined, error, status: "error", fetchStatus: "idle" });
    });
  }, [client]);
  if (me.data) return <Session me={me.data} />;
  if (me.error instanceof ApiError && me.error.status === 401) return <Login />;
  if (me.error)
    return (
      <main style={{ maxWidth: 560, margin: "15vh auto", padding: 16 }}>
        <ErrorBox error={me.error} title="The service does not answer" retry={() => void me.refetch()} />
      </main>
    );
  return <div role="status" aria-label="Loading" style={{ padding: "30vh 0", textAlign: "center" }}><Spin size="large" /></div>;
}
