import { App, Button, Form, Input, Popconfirm, Select } from "antd";
import { api, seg } from "../../api/client";
import { useChange, useTokens } from "../../api/hooks";
import type { Role, Token } from "../../api/types";
import { ScrollTable } from "../../components/scroll-table";
import { ErrorBox, Loaded } from "../../components/states";
import * as f from "../../lib/format";
import { useSession } from "../../session";
import { ROLES } from "./users";

export function Tokens() {
  const { role } = useSession();
  const { modal } = App.useApp();
  const tokens = useTokens();
  const [form] = Form.useForm<{ name: string; role: Role }>();
  const add = useChange((v: { name: string; role: Role }) => api.post<Token>("/api/v1/tokens", v), "tokens");
  const remove = useChange((id: string) => api.delete(`/api/v1/tokens/${seg(id)}`), "tokens");
  const mine = ROLES.slice(0, ROLES.findIndex((r) => r.value === role) + 1);
  const shown = (t: Token) => {
    form.resetFields();
    void modal.success({
      title: "The token is shown this once",
      content: <code className="mono" style={{ overflowWrap: "anywhere", userSelect: "all" }}>{t.token}</code>,
      okText: "I have it",
    });
  };
  return (
    <Loaded query={tokens}>
      <div className="stack">
        <div className="muted">For programs: sent as <span className="mono">Authorization: Bearer v2c_…</span></div>
        {(add.error ?? remove.error) && <ErrorBox error={add.error ?? remove.error} />}
        <ScrollTable<Token> label="Tokens" size="small" rowKey="id" pagination={false} scroll={{ x: 560 }} dataSource={tokens.data ?? []}
          locale={{ emptyText: "There are no tokens" }} columns={[
            { title: "Name", dataIndex: "name" },
            { title: "User", dataIndex: "user" },
            { title: "Role", dataIndex: "role" },
            { title: "Made", className: "num", render: (_, t) => f.time(t.created_at) },
            { title: "Last used", className: "num", render: (_, t) => f.time(t.last_used_at) },
            {
              title: <span className="hidden">Actions</span>,
              render: (_, t) => (
                <Popconfirm title={`Revoke ${t.name}?`} okText="Revoke" cancelText="Back" onConfirm={() => remove.mutate(t.id)}>
                  <Button size="small" danger aria-label={`Revoke ${t.name}`}>Revoke</Button>
                </Popconfirm>
              ),
            },
          ]} />
        <Form form={form} name="new-token" layout="inline" style={{ rowGap: 8 }} initialValues={{ role: "viewer" }}
          onFinish={(v) => add.mutate(v, { onSuccess: shown })}>
          <Form.Item name="name" label="Name" rules={[{ required: true, max: 64 }]}><Input /></Form.Item>
          <Form.Item name="role" label="Role"><Select options={mine} style={{ width: 110 }} /></Form.Item>
          <Button htmlType="submit" type="primary" loading={add.isPending}>Make a token</Button>
        </Form>
      </div>
    </Loaded>
  );
}
