import { LockOutlined, UserOutlined } from "@ant-design/icons";
import { useQueryClient } from "@tanstack/react-query";
import { Alert, Button, Card, Form, Input } from "antd";
import { useState } from "react";
import { api } from "../api/client";
import type { Me } from "../api/types";

export function Login() {
  const client = useQueryClient();
  const [error, setError] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const login = async (values: { user: string; password: string }) => {
    setBusy(true);
    setError(null);
    try {
      client.setQueryData(["me"], await api.post<Me>("/api/v1/login", values));
    } catch (e) {
      setError((e as Error).message);
      setBusy(false);
    }
  };
  return (
    <main className="login">
      <Card className="login-card" variant="borderless">
        <div style={{ textAlign: "center", marginBottom: 20 }}>
          <img src="./favicon.svg" alt="" width={52} height={52} />
          <h1 style={{ fontSize: 20, margin: "10px 0 2px" }}>v2c-engine</h1>
          <div className="muted">From VMware vSphere to Apache CloudStack</div>
        </div>
        {error && <Alert type="error" showIcon title={error} style={{ marginBottom: 16 }} role="alert" />}
        <Form layout="vertical" onFinish={login} requiredMark={false}>
          <Form.Item name="user" label="User" rules={[{ required: true, message: "Who are you?" }]}>
            <Input prefix={<UserOutlined />} autoComplete="username" autoFocus maxLength={64} />
          </Form.Item>
          <Form.Item name="password" label="Password" rules={[{ required: true, message: "The password is needed" }]}>
            <Input.Password prefix={<LockOutlined />} autoComplete="current-password" maxLength={1024} />
          </Form.Item>
          <Button type="primary" htmlType="submit" block loading={busy} size="large">Log in</Button>
        </Form>
      </Card>
    </main>
  );
}
