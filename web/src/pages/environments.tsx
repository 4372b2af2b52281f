import { Alert, App, Button, Card, Checkbox, Form, Input, Modal, Popconfirm, Select, Tag } from "antd";
import { useEffect, useRef, useState } from "react";
import { api, seg } from "../api/client";
import { testEnvironment, useChange, useEnvironments } from "../api/hooks";
import type { Environment, EnvironmentInput } from "../api/types";
import { useOpener } from "../components/focus";
import { ErrorBox, Loaded, Nothing, PageHead } from "../components/states";
import { WideTable } from "../components/wide-table";
import { useSession } from "../session";

function Editor({ env, onClose }: { env: Environment | null; onClose: () => void }) {
  const { message } = App.useApp();
  const [form] = Form.useForm<EnvironmentInput>();
  const kind = Form.useWatch("kind", form) ?? env?.kind ?? "vcenter";
  // What is saved is what was tested: a test that failed, or trust that was not given, saves nothing.
  const save = useChange(async (values: EnvironmentInput) => {
    const body = Object.fromEntries(Object.entries(values).filter(([, v]) => v !== undefined && v !== "")) as EnvironmentInput;
    const test = await testEnvironment(env ? { ...body, id: env.id } : body);
    if (!test.ok) return test;
    if (env) await api.put(`/api/v1/environments/${seg(env.id)}`, body);
    else await api.post("/api/v1/environments", body);
    void message.success(`${body.name} is saved${test.server ? `: ${test.server}` : ""}`);
    onClose();
    return test;
  }, "environments", "vms", "resources");
  const failed = save.data && !save.data.ok ? save.data : null;
  const said = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (failed || save.error) said.current?.scrollIntoView({ block: "nearest" });
  }, [failed, save.error]);
  return (
    <Modal open title={env ? `Change ${env.name}` : "Add an environment"} okText="Test and save" onCancel={onClose} onOk={() => form.submit()} confirmLoading={save.isPending}>
      <Form form={form} layout="vertical" onFinish={(v) => save.mutate(v)}
        initialValues={env ? { kind: env.kind, name: env.name, address: env.address, user: env.user ?? undefined, thumbprint: env.thumbprint ?? undefined, insecure: env.insecure } : { kind: "vcenter" }}>
        <Form.Item name="kind" label="Kind"><Select disabled={env !== null} options={[{ value: "vcenter", label: "VMware vCenter" }, { value: "cloudstack", label: "Apache CloudStack" }]} /></Form.Item>
        <Form.Item name="name" label="Name" rules={[{ required: true }]}><Input maxLength={64} /></Form.Item>
        <Form.Item name="address" label={kind === "vcenter" ? "Host" : "URL of the API"} rules={[{ required: true }]}><Input maxLength={512} /></Form.Item>
        {kind === "vcenter" ? (
          <>
            <Form.Item name="user" label="User" rules={[{ required: true }]}><Input autoComplete="off" /></Form.Item>
            <Form.Item name="password" label="Password" extra={env && "Empty: the saved one stays"} rules={[{ required: !env }]}><Input.Password autoComplete="new-password" /></Form.Item>
          </>
        ) : (
          <>
            <Form.Item name="api_key" label="API key" extra={env && "Empty: the saved one stays"} rules={[{ required: !env }]}><Input autoComplete="off" /></Form.Item>
            <Form.Item name="secret_key" label="Secret key" rules={[{ required: !env }]}><Input.Password autoComplete="new-password" /></Form.Item>
          </>
        )}
        <Form.Item name="thumbprint" label="Fingerprint of its certificate (SHA-256), if no authority vouches for it"><Input className="mono" maxLength={128} /></Form.Item>
        <Form.Item name="insecure" valuePropName="checked"><Checkbox>Do not check the certificate (not for production)</Checkbox></Form.Item>
      </Form>
      {/* The form is longer than many a screen: what came of it is brought into sight. */}
      <div ref={said}>
        {failed?.thumbprint && (
          <Alert type="warning" showIcon title="Its certificate is not trusted"
            description={<><div>Compare this fingerprint with the server's own before you accept it:</div><div className="mono" style={{ overflowWrap: "anywhere" }}>{failed.thumbprint}</div></>}
            action={<Button size="small" onClick={() => { form.setFieldValue("thumbprint", failed.thumbprint); form.submit(); }}>Accept</Button>} />
        )}
        {failed && !failed.thumbprint && <Alert type="error" showIcon title={failed.error?.detail ?? "The test failed"} description={failed.error?.hint} />}
        {save.error && <ErrorBox error={save.error} />}
      </div>
    </Modal>
  );
}

export default function Environments() {
  const { can } = useSession();
  const list = useEnvironments();
  const [edited, setEdited] = useState<Environment | "new" | null>(null);
  const opener = useOpener(edited !== null);
  const remove = useChange((id: string) => api.delete(`/api/v1/environments/${seg(id)}`), "environments");
  return (
    <div className="page">
      <PageHead title="Environments" sub="Where VMs come from, and where they go">
        {can("operator") && <Button type="primary" onClick={(e) => { opener(e.currentTarget); setEdited("new"); }}>Add</Button>}
      </PageHead>
      {remove.error && <ErrorBox error={remove.error} />}
      <Loaded query={list}>
        {list.data?.length === 0 ? <Card><Nothing>No vCenter and no CloudStack is known yet</Nothing></Card> : (
          <WideTable<Environment> label="Environments" width={640} rowKey="id" pagination={false} dataSource={list.data ?? []} columns={[
            { title: "Name", render: (_, e) => <strong>{e.name}</strong> },
            { title: "Kind", render: (_, e) => <Tag color={e.kind === "vcenter" ? "geekblue" : "purple"}>{e.kind === "vcenter" ? "vCenter" : "CloudStack"}</Tag> },
            { title: "Address", dataIndex: "address" },
            { title: "Certificate", render: (_, e) => (e.insecure ? <Tag color="warning">not checked</Tag> : e.thumbprint ? "by fingerprint" : "by authority") },
            { title: <span className="muted">Actions</span>, render: (_, e) => e.source === "config" ? <span className="muted">of the configuration file</span> : can("operator") && (
              <div className="row-tight">
                <Button size="small" onClick={(click) => { opener(click.currentTarget); setEdited(e); }} aria-label={`Change ${e.name}`}>Change</Button>
                <Popconfirm title={`Remove ${e.name}?`} onConfirm={() => remove.mutate(e.id)}><Button size="small" danger aria-label={`Remove ${e.name}`}>Remove</Button></Popconfirm>
              </div>) },
          ]} />
        )}
      </Loaded>
      {edited && <Editor env={edited === "new" ? null : edited} onClose={() => setEdited(null)} />}
    </div>
  );
}
