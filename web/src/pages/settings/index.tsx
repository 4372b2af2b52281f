// Settings: limits of the service, who may use it, how the page looks, what it is made of.
import { Card, Tabs } from "antd";
import { PageHead } from "../../components/states";
import { go, useRoute } from "../../lib/router";
import { useSession } from "../../session";
import { About } from "./about";
import { Account, Appearance } from "./account";
import { Audit } from "./audit";
import { Limits } from "./limits";
import { Tokens } from "./tokens";
import { Users } from "./users";

export default function Settings() {
  const { can } = useSession();
  const { path } = useRoute();
  const tabs = [
    { key: "limits", label: "Limits", children: <Limits /> },
    ...(can("admin")
      ? [{ key: "users", label: "Users", children: <Users /> }, { key: "audit", label: "Audit", children: <Audit /> }]
      : []),
    { key: "tokens", label: "Tokens", children: <Tokens /> },
    { key: "account", label: "Account", children: <div className="stack"><Account /><Appearance /></div> },
    { key: "about", label: "About", children: <About /> },
  ];
  return (
    <div className="page">
      <PageHead title="Settings" />
      <Card size="small">
        <Tabs activeKey={tabs.some((t) => t.key === path[1]) ? path[1] : "limits"} onChange={(k) => go(`/settings/${k}`)} destroyOnHidden
          items={tabs} />
      </Card>
    </div>
  );
}
