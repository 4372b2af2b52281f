import { App, Button, Card, Form, Input, InputNumber, Popconfirm, Select, Tabs } from "antd";
import { useState } from "react";
import { api, seg } from "../api/client";
import { useAbout, useAudit, useChange, useSettings, useTokens, useUsers } from "../api/hooks";
import type { Role, Settings as Limits, Token, User } from "../api/types";
import { ErrorBox, Loaded, PageHead } from "../components/states";
import { WideTable } from "../components/wide-table";
import * as f from "../lib/format";
import { go, useRoute } from "../lib/router";
import licences from "../licences.json";
import { useSession } from "../session";

const ROLES = (["viewer", "operator", "admin"] as const).map((v) => ({ value: v, label: v }));

function LimitsForm() {
  const { can } = useSession();
  const { message } = App.useApp();
  const settings = useSettings();
  const save = useChange((v: Limits) => api.put<Limits>("/api/v1/settings", v), "settings");
  const number = (name: keyof Limits, label: string) => <Form.Item name={name} label={label}><InputNumber min={name === "max_workers" ? 1 : 0} max={200} precision={0} /></Form.Item>;
  return (
    <Loaded query={settings}>
      <Form layout="vertical" initialValues={settings.data} disabled={!can("admin")} style={{ maxWidth: 420 }}
        onFinish={(v: Limits) => save.mutate({ ...v, bandwidth: v.bandwidth ?? "" }, { onSuccess: () => void message.success("Saved") })}>
        {number("max_workers", "Jobs that copy or cut over at once")}{number("max_per_vcenter", "Of one vCenter (0: no limit)")}{number("max_per_host", "Of one ESXi host (0: no limit)")}{number("max_per_pool", "Of one storage pool (0: no limit)")}
        <Form.Item name="bandwidth" label="Bandwidth of all together, as 200MiB/s"><Input maxLength={64} /></Form.Item>
        {save.error && <ErrorBox error={save.error} />}
        {can("admin") && <Button type="primary" htmlType="submit" loading={save.isPending}>Save</Button>}
      </Form>
    </Loaded>
  );
}

function Users() {
  const users = useUsers(true);
  const [form] = Form.useForm();
  const add = useChange((v: { name: string; role: Role; password: string }) => api.post("/api/v1/users", v), "users");
  const change = useChange(({ name, role }: { name: string; role: Role }) => api.patch(`/api/v1/users/${seg(name)}`, { role }), "users");
  const remove = useChange((n: string) => api.delete(`/api/v1/users/${seg(n)}`), "users");
  const error = add.error ?? change.error ?? remove.error;
  return (
    <Loaded query={users}>
      {error && <ErrorBox error={error} />}
      <WideTable<User> label="Users" width={480} rowKey="name" pagination={false} dataSource={users.data ?? []} columns={[
        { title: "Name", dataIndex: "name" },
        { title: "Role", render: (_, u) => <Select aria-label={`Role of ${u.name}`} size="small" value={u.role} options={ROLES} onChange={(role: Role) => change.mutate({ name: u.name, role })} /> },
        { title: "Since", render: (_, u) => f.time(u.created_at) },
        { title: <span className="muted">Actions</span>, render: (_, u) => <Popconfirm title={`Remove ${u.name}?`} onConfirm={() => remove.mutate(u.name)}><Button size="small" danger aria-label={`Remove ${u.name}`}>Remove</Button></Popconfirm> },
      ]} />
      <Form form={form} layout="inline" style={{ marginTop: 16, rowGap: 8 }} initialValues={{ role: "operator" }} onFinish={(v) => add.mutate(v, { onSuccess: () => form.resetFields() })}>
        <Form.Item name="name" label="Name" rules={[{ required: true }]}><Input autoComplete="off" /></Form.Item>
        <Form.Item name="role" label="Role"><Select options={ROLES} style={{ width: 110 }} /></Form.Item>
        <Form.Item name="password" label="Password" rules={[{ required: true, min: 10 }]}><Input.Password autoComplete="new-password" /></Form.Item>
        <Button htmlType="submit" type="primary" loading={add.isPending}>Add</Button>
      </Form>
    </Loaded>
  );
}

function Tokens() {
  const { role } = useSession();
  const { modal } = App.useApp();
  const tokens = useTokens();
  const add = useChange((v: { name: string; role: Role }) => api.post<Token>("/api/v1/tokens", v), "tokens");
  const remove = useChange((id: string) => api.delete(`/api/v1/tokens/${seg(id)}`), "tokens");
  const mine = ROLES.slice(0, ROLES.findIndex((r) => r.value === role) + 1);
  return (
    <Loaded query={tokens}>
      {(add.error ?? remove.error) && <ErrorBox error={add.error ?? remove.error} />}
      <WideTable<Token> label="Tokens" width={480} rowKey="id" pagination={false} dataSource={tokens.data ?? []} columns={[
        { title: "Name", dataIndex: "name" }, { title: "User", dataIndex: "user" }, { title: "Role", dataIndex: "role" }, { title: "Last used", render: (_, t) => f.time(t.last_used_at) },
        { title: <span className="muted">Actions</span>, render: (_, t) => <Popconfirm title={`Revoke ${t.name}?`} onConfirm={() => remove.mutate(t.id)}><Button size="small" danger aria-label={`Revoke ${t.name}`}>Revoke</Button></Popconfirm> },
      ]} />
      <Form layout="inline" style={{ marginTop: 16, rowGap: 8 }} initialValues={{ role: "viewer" }}
        onFinish={(v) => add.mutate(v, { onSuccess: (t) => void modal.success({ title: "The token is shown this once", content: <code style={{ overflowWrap: "anywhere" }}>{t.token}</code> }) })}>
        <Form.Item name="name" label="Name" rules={[{ required: true, max: 64 }]}><Input /></Form.Item>
        <Form.Item name="role" label="Role"><Select options={mine} style={{ width: 110 }} /></Form.Item>
        <Button htmlType="submit" type="primary" loading={add.isPending}>Make a token</Button>
      </Form>
    </Loaded>
  );
}

function Account() {
  const { message } = App.useApp();
  const [form] = Form.useForm();
  const save = useChange((v: { old: string; new: string }) => api.put("/api/v1/me/password", v));
  return (
    <Form form={form} layout="vertical" style={{ maxWidth: 360 }} onFinish={(v) => save.mutate(v, { onSuccess: () => { form.resetFields(); void message.success("The password is changed"); } })}>
      <Form.Item name="old" label="Old password" rules={[{ required: true }]}><Input.Password autoComplete="current-password" /></Form.Item>
      <Form.Item name="new" label="New password" rules={[{ required: true, min: 10 }]}><Input.Password autoComplete="new-password" /></Form.Item>
      {save.error && <ErrorBox error={save.error} />}
      <Button type="primary" htmlType="submit" loading={save.isPending}>Change the password</Button>
    </Form>
  );
}

function Audit() {
  const [page, setPage] = useState(1);
  const audit = useAudit(50, (page - 1) * 50, true);
  return (
    <Loaded query={audit}>
      <WideTable label="Audit log" width={640} rowKey={(a) => `${a.at}${a.action}${a.subject}`} dataSource={audit.data?.items ?? []} pagination={{ current: page, pageSize: 50, total: audit.data?.total ?? 0, onChange: setPage, showSizeChanger: false }}
        columns={[{ title: "When", render: (_, a) => f.time(a.at) }, { title: "Who", dataIndex: "user" }, { title: "From", dataIndex: "address" }, { title: "What", dataIndex: "action" }, { title: "To what", dataIndex: "subject" }, { title: "Outcome", dataIndex: "outcome" }]} />
    </Loaded>
  );
}

function About() {
  const about = useAbout();
  return (
    <Loaded query={about}>
      <p><strong>v2c-engine {about.data?.version}</strong>, Apache-2.0. State is in <span className="mono">{about.data?.control_dir}</span>.</p>
      <h2 style={{ fontSize: 15 }}>Libraries of the engine</h2>
      <ul>{about.data?.libraries.map((l) => <li key={l.name}>{l.name} {l.version}: {l.licence}</li>)}</ul>
      <h2 style={{ fontSize: 15 }}>Packages of this page</h2>
      {licences.packages.map((p) => <details key={p.name}><summary>{p.name} {p.version}: {p.licence}</summary><pre className="text" tabIndex={0}>{licences.texts[p.text] ?? "No text is in the package."}</pre></details>)}
    </Loaded>
  );
}

export default function Settings() {
  const { can } = useSession();
  const { path } = useRoute();
  return (
    <div className="page">
      <PageHead title="Settings" />
      <Card size="small">
        <Tabs activeKey={path[1] ?? "limits"} onChange={(k) => go(`/settings/${k}`)} destroyOnHidden items={[
          { key: "limits", label: "Limits", children: <LimitsForm /> },
          ...(can("admin") ? [{ key: "users", label: "Users", children: <Users /> }, { key: "audit", label: "Audit", children: <Audit /> }] : []),
          { key: "tokens", label: "Tokens", children: <Tokens /> }, { key: "account", label: "Account", children: <Account /> }, { key: "about", label: "About", children: <About /> },
        ]} />
      </Card>
    </div>
  );
}
