import { App, Button, Form, Input, InputNumber } from "antd";
import { api } from "../../api/client";
import { useChange, useSettings } from "../../api/hooks";
import type { Settings } from "../../api/types";
import { ErrorBox, Loaded } from "../../components/states";
import { useSession } from "../../session";

const NUMBERS: [keyof Settings, string][] = [
  ["max_workers", "Jobs that copy or cut over at once"],
  ["max_per_vcenter", "Of one vCenter (0: no limit)"],
  ["max_per_host", "Of one ESXi host (0: no limit)"],
  ["max_per_pool", "Of one storage pool (0: no limit)"],
];

export function Limits() {
  const { can } = useSession();
  const { message } = App.useApp();
  const settings = useSettings();
  const save = useChange((v: Settings) => api.put<Settings>("/api/v1/settings", v), "settings");
  const submit = (v: Settings) => {
    // An empty number is one that stays.
    const given = Object.fromEntries(Object.entries(v).filter(([, x]) => x !== null && x !== undefined)) as Settings;
    save.mutate({ ...given, bandwidth: v.bandwidth ?? "" }, { onSuccess: () => void message.success("Saved") });
  };
  return (
    <Loaded query={settings}>
      <Form name="limits" layout="vertical" initialValues={settings.data} disabled={!can("admin")} style={{ maxWidth: 420 }} onFinish={submit}>
        {NUMBERS.map(([name, label]) => (
          <Form.Item key={name} name={name} label={label}>
            <InputNumber min={name === "max_workers" ? 1 : 0} max={200} precision={0} />
          </Form.Item>
        ))}
        <Form.Item name="bandwidth" label="Bandwidth of all together, as 200MiB/s; empty: none"><Input maxLength={64} /></Form.Item>
        {save.error && <ErrorBox error={save.error} />}
        {can("admin") ? (
          <Button type="primary" htmlType="submit" loading={save.isPending}>Save</Button>
        ) : (
          <p className="muted">Only an administrator changes limits.</p>
        )}
      </Form>
    </Loaded>
  );
}
