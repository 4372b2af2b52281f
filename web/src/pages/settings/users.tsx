import { App, Button, Form, Input, Popconfirm, Select } from "antd";
import { useState } from "react";
import { api, seg } from "../../api/client";
import { useChange, useUsers } from "../../api/hooks";
import type { Role, User } from "../../api/types";
import { Dialog } from "../../components/dialog";
import { ScrollTable } from "../../components/scroll-table";
import { ErrorBox, Loaded } from "../../components/states";
import * as f from "../../lib/format";
import { useSession } from "../../session";

export const ROLES = (["viewer", "operator", "admin"] as const).map((v) => ({ value: v, label: v }));
const NAME = [{ required: true, pattern: /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/, message: "letters, digits, . _ @ -" }];
const PASSWORD = [{ required: true, min: 10, message: "10 characters at least" }];

function PasswordDialog({ name, onClose }: { name: string | null; onClose: () => void }) {
  const { message } = App.useApp();
  const [form] = Form.useForm<{ password: string }>();
  const save = useChange((password: string) => api.patch(`/api/v1/users/${seg(name!)}`, { password }), "users");
  const submit = (v: { password: string }) =>
    save.mutate(v.password, { onSuccess: () => { void message.success("The password is set"); onClose(); } });
  return (
    <Dialog open={name !== null} title={`New password for ${name}`} okText="Set it" cancelText="Back" confirmLoading={save.isPending}
      onOk={() => form.submit()} onCancel={onClose} afterClose={() => { form.resetFields(); save.reset(); }}>
      <Form form={form} name="user-password" layout="vertical" onFinish={submit}>
        <Form.Item name="password" label="Password" rules={PASSWORD} extra="The user's sessions end.">
          <Input.Password autoComplete="new-password" autoFocus />
        </Form.Item>
      </Form>
      {save.error && <ErrorBox error={save.error} />}
    </Dialog>
  );
}

interface NewUser {
  name: string;
  role: Role;
  password: string;
}

export function Users() {
  const { user: me } = useSession();
  const users = useUsers(true);
  const [form] = Form.useForm<NewUser>();
  const [named, setNamed] = useState<string | null>(null);
  const add = useChange((v: NewUser) => api.post("/api/v1/users", v), "users");
  const setRole = ({ name, role }: { name: string; role: Role }) => api.patch(`/api/v1/users/${seg(name)}`, { role });
  const change = useChange(setRole, "users", "me");
  const remove = useChange((n: string) => api.delete(`/api/v1/users/${seg(n)}`), "users");
  const last = [add, change, remove].reduce((a, b) => (b.submittedAt > a.submittedAt ? b : a));
  return (
    <Loaded query={users}>
      <div className="stack">
        {last.error && <ErrorBox error={last.error} />}
        <ScrollTable<User> label="Users" size="small" rowKey="name" pagination={false} scroll={{ x: 520 }} dataSource={users.data ?? []} columns={[
          { title: "Name", render: (_, u) => <>{u.name} {u.name === me && <span className="muted">(you)</span>}</> },
          {
            title: "Role",
            render: (_, u) => (
              <Select aria-label={`Role of ${u.name}`} size="small" style={{ width: 110 }} value={u.role} options={ROLES}
                onChange={(role: Role) => change.mutate({ name: u.name, role })} />
            ),
          },
          { title: "Since", className: "num", render: (_, u) => f.time(u.created_at) },
          {
            title: <span className="hidden">Actions</span>,
            render: (_, u) => (
              <div className="row-tight">
                <Button size="small" onClick={() => setNamed(u.name)} aria-label={`Password of ${u.name}`}>Password</Button>
                <Popconfirm title={`Remove ${u.name}?`} description="Sessions and tokens go, too." okText="Remove" cancelText="Back"
                  onConfirm={() => remove.mutate(u.name)}>
                  <Button size="small" danger aria-label={`Remove ${u.name}`}>Remove</Button>
                </Popconfirm>
              </div>
            ),
          },
        ]} />
        <Form form={form} name="new-user" layout="inline" style={{ rowGap: 8 }} initialValues={{ role: "operator" }}
          onFinish={(v) => add.mutate(v, { onSuccess: () => form.resetFields() })}>
          <Form.Item name="name" label="Name" rules={NAME}>
            <Input autoComplete="off" />
          </Form.Item>
          <Form.Item name="role" label="Role"><Select options={ROLES} style={{ width: 110 }} /></Form.Item>
          <Form.Item name="password" label="Password" rules={PASSWORD}><Input.Password autoComplete="new-password" /></Form.Item>
          <Button htmlType="submit" type="primary" loading={add.isPending}>Add</Button>
        </Form>
      </div>
      <PasswordDialog name={named} onClose={() => setNamed(null)} />
    </Loaded>
  );
}
