// vCenters and CloudStacks. What is saved is what was tested.
import { Alert, App, Button, Card, Checkbox, Form, Input, Popconfirm, Select, Tag } from "antd";
import { useEffect, useRef, useState } from "react";
import { api, seg } from "../api/client";
import { testEnvironment, useChange, useEnvironments } from "../api/hooks";
import type { Environment, EnvironmentInput, EnvironmentTest } from "../api/types";
import { Dialog } from "../components/dialog";
import { ScrollTable } from "../components/scroll-table";
import { ErrorBox, Loaded, Nothing, PageHead } from "../components/states";
import { useSession } from "../session";

const KINDS = [{ value: "vcenter", label: "VMware vCenter" }, { value: "cloudstack", label: "Apache CloudStack" }];

function initial(env: Environment | null): Partial<EnvironmentInput> {
  if (!env) return { kind: "vcenter" };
  return {
    kind: env.kind, name: env.name, address: env.address, user: env.user ?? undefined, thumbprint: env.thumbprint ?? undefined,
    insecure: env.insecure,
  };
}

function Secrets({ kind, saved }: { kind: string; saved: boolean }) {
  const extra = saved && "Empty: the saved one stays";
  const rules = [{ required: !saved }];
  if (kind === "vcenter")
    return (
      <>
        <Form.Item name="user" label="User" rules={[{ required: true }]}><Input autoComplete="off" /></Form.Item>
        <Form.Item name="password" label="Password" extra={extra} rules={rules}><Input.Password autoComplete="new-password" /></Form.Item>
      </>
    );
  return (
    <>
      <Form.Item name="api_key" label="API key" extra={extra} rules={rules}><Input autoComplete="off" /></Form.Item>
      <Form.Item name="secret_key" label="Secret key" extra={extra} rules={rules}><Input.Password autoComplete="new-password" /></Form.Item>
    </>
  );
}

function Failed({ test, onAccept }: { test: EnvironmentTest; onAccept: (thumbprint: string) => void }) {
  const { thumbprint, error } = test;
  if (!thumbprint) return <Alert type="error" showIcon role="alert" title={error?.detail ?? "The test failed"} description={error?.hint} />;
  return (
    <Alert
      type="warning" showIcon role="alert" title="Its certificate is not trusted"
      description={
        <>
          <div>Compare this fingerprint with the server's own before you accept it:</div>
          <div className="mono" style={{ overflowWrap: "anywhere" }}>{thumbprint}</div>
        </>
      }
      action={<Button size="small" onClick={() => onAccept(thumbprint)}>Accept</Button>}
    />
  );
}

interface EditorProps {
  env: Environment | null;
  open: boolean;
  onClose: () => void;
}

function Editor({ env, open, onClose }: EditorProps) {
  const { message } = App.useApp();
  const [form] = Form.useForm<EnvironmentInput>();
  const kind = Form.useWatch("kind", form) ?? env?.kind ?? "vcenter";
  // A test that failed, or trust that was not given, saves nothing.
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
  const refused = (save.data && !save.data.ok) || save.error;
  const said = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (refused) said.current?.scrollIntoView({ block: "nearest" }); // the form is long
  }, [refused]);
  const accept = (thumbprint: string) => {
    form.setFieldValue("thumbprint", thumbprint);
    form.submit();
  };
  return (
    <Dialog open={open} title={env ? `Change ${env.name}` : "Add an environment"} okText="Test and save" cancelText="Back"
      onCancel={onClose} onOk={() => form.submit()} confirmLoading={save.isPending}>
      <Form form={form} name="environment" layout="vertical" onFinish={(v) => save.mutate(v)} initialValues={initial(env)}>
        <Form.Item name="kind" label="Kind"><Select disabled={env !== null} options={KINDS} /></Form.Item>
        <Form.Item name="name" label="Name" rules={[{ required: true }]}><Input maxLength={64} /></Form.Item>
        <Form.Item name="address" label={kind === "vcenter" ? "Host" : "URL of the API"} rules={[{ required: true }]}>
          <Input maxLength={512} placeholder={kind === "vcenter" ? "vcenter.example.com" : "https://cloud.example.com/client/api"} />
        </Form.Item>
        <Secrets kind={kind} saved={env !== null} />
        <Form.Item name="thumbprint" label="Fingerprint of its certificate (SHA-256), if no authority vouches for it">
          <Input className="mono" maxLength={128} />
        </Form.Item>
        <Form.Item name="insecure" valuePropName="checked">
          <Checkbox>Do not check the certificate (not for production)</Checkbox>
        </Form.Item>
        <button type="submit" hidden aria-hidden tabIndex={-1} />
      </Form>
      <div ref={said}>
        {save.data && !save.data.ok && <Failed test={save.data} onAccept={accept} />}
        {save.error && <ErrorBox error={save.error} />}
      </div>
    </Dialog>
  );
}

function Trust({ env }: { env: Environment }) {
  if (env.insecure) return <Tag color="warning">not checked</Tag>;
  return env.thumbprint ? <span title={env.thumbprint}>by fingerprint</span> : <>by authority</>;
}

export default function Environments() {
  const { can } = useSession();
  const list = useEnvironments();
  const [edited, setEdited] = useState<Environment | null>(null);
  const [open, setOpen] = useState(false);
  const times = useRef(0);
  const remove = useChange((id: string) => api.delete(`/api/v1/environments/${seg(id)}`), "environments");
  const edit = (env: Environment | null) => {
    times.current++;
    setEdited(env);
    setOpen(true);
  };
  const actions = (e: Environment) => {
    if (e.source === "config") return <span className="muted">of the configuration file</span>;
    if (!can("operator")) return null;
    return (
      <div className="row-tight">
        <Button size="small" onClick={() => edit(e)} aria-label={`Change ${e.name}`}>Change</Button>
        <Popconfirm title={`Remove ${e.name}?`} okText="Remove" cancelText="Back" onConfirm={() => remove.mutate(e.id)}>
          <Button size="small" danger aria-label={`Remove ${e.name}`}>Remove</Button>
        </Popconfirm>
      </div>
    );
  };
  return (
    <div className="page">
      <PageHead title="Environments" sub="Where VMs come from, and where they go">
        {can("operator") && <Button type="primary" onClick={() => edit(null)}>Add</Button>}
      </PageHead>
      {remove.error && <ErrorBox error={remove.error} />}
      <Loaded query={list}>
        {list.data?.length === 0 ? (
          <Card><Nothing>No vCenter and no CloudStack is known yet</Nothing></Card>
        ) : (
          <ScrollTable<Environment> label="Environments" size="small" rowKey="id" pagination={false} scroll={{ x: 700 }} dataSource={list.data ?? []} columns={[
            { title: "Name", render: (_, e) => <strong>{e.name}</strong> },
            {
              title: "Kind",
              render: (_, e) => e.kind === "vcenter" ? <Tag color="geekblue">vCenter</Tag> : <Tag color="purple">CloudStack</Tag>,
            },
            { title: "Address", dataIndex: "address" },
            { title: "User", render: (_, e) => e.user ?? "–" },
            { title: "Certificate", render: (_, e) => <Trust env={e} /> },
            { title: <span className="hidden">Actions</span>, render: (_, e) => actions(e) },
          ]} />
        )}
      </Loaded>
      <Editor key={times.current} env={edited} open={open} onClose={() => setOpen(false)} />
    </div>
  );
}
