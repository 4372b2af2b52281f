import { App, Button, Form, Input, Radio } from "antd";
import { api, endSession } from "../../api/client";
import { useChange } from "../../api/hooks";
import { ErrorBox } from "../../components/states";
import { setAppearance, useAppearance, type Appearance as Look } from "../../theme";

interface Passwords {
  old: string;
  new: string;
  again: string;
}

export function Account() {
  const { message } = App.useApp();
  const save = useChange((v: Passwords) => api.put("/api/v1/me/password", { old: v.old, new: v.new }));
  const submit = (v: Passwords) =>
    save.mutate(v, {
      onSuccess: () => {
        void message.success("The password is changed: log in with the new one");
        endSession();
      },
    });
  return (
    <Form name="account" layout="vertical" style={{ maxWidth: 360 }} onFinish={submit}>
      <Form.Item name="old" label="Old password" rules={[{ required: true }]}><Input.Password autoComplete="current-password" /></Form.Item>
      <Form.Item name="new" label="New password" rules={[{ required: true, min: 10, message: "10 characters at least" }]}>
        <Input.Password autoComplete="new-password" />
      </Form.Item>
      <Form.Item name="again" label="New password, again" dependencies={["new"]} rules={[
        { required: true, message: "Again, please" },
        ({ getFieldValue }) => ({
          validator: (_, v) => (!v || v === getFieldValue("new") ? Promise.resolve() : Promise.reject(new Error("They differ"))),
        }),
      ]}>
        <Input.Password autoComplete="new-password" />
      </Form.Item>
      <p className="muted">All your sessions end; you log in again.</p>
      {save.error && <ErrorBox error={save.error} />}
      <Button type="primary" htmlType="submit" loading={save.isPending} style={{ marginTop: 8 }}>Change the password</Button>
    </Form>
  );
}

export function Appearance() {
  const look = useAppearance();
  return (
    <div className="stack">
      <Radio.Group aria-label="Appearance" value={look} onChange={(e) => setAppearance(e.target.value as Look)}
        options={[{ value: "light", label: "Light" }, { value: "dark", label: "Dark" }, { value: "system", label: "As the system" }]} />
      <div className="muted">It is remembered in this browser.</div>
    </div>
  );
}
