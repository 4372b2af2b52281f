import { Table } from "antd";
import { useAbout } from "../../api/hooks";
import { Loaded } from "../../components/states";
import licences from "../../licences.json";

export function About() {
  const about = useAbout();
  return (
    <Loaded query={about}>
      <p>
        <strong>v2c-engine {about.data?.version}</strong>, Apache-2.0. State is in <span className="mono">{about.data?.control_dir}</span>.
      </p>
      <h2>Libraries of the engine</h2>
      <Table size="small" pagination={false} rowKey="name" style={{ maxWidth: 640 }} dataSource={about.data?.libraries ?? []} columns={[
        { title: "Name", dataIndex: "name" }, { title: "Version", dataIndex: "version" }, { title: "Licence", dataIndex: "licence" },
      ]} />
      <h2>Packages of this page</h2>
      {licences.packages.map((p) => (
        <details key={p.name}>
          <summary>{p.name} {p.version}: {p.licence}</summary>
          <pre className="text" tabIndex={0}>{licences.texts[p.text] ?? "No text is in the package."}</pre>
        </details>
      ))}
    </Loaded>
  );
}
