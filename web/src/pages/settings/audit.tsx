import { Tag } from "antd";
import { ScrollTable } from "../../components/scroll-table";
import { useState } from "react";
import { useAudit } from "../../api/hooks";
import type { AuditPage } from "../../api/types";
import { Loaded } from "../../components/states";
import * as f from "../../lib/format";

const SIZE = 50;
type Entry = AuditPage["items"][number];

/** What was refused stands out. */
function Outcome({ text }: { text: string }) {
  const bad = /^[45]\d\d$/.test(text);
  return <Tag color={bad ? "error" : "default"}>{text}</Tag>;
}

export function Audit() {
  const [page, setPage] = useState(1);
  const audit = useAudit(SIZE, (page - 1) * SIZE, true);
  const entries = (audit.data?.items ?? []).map((e, i) => ({ ...e, key: (page - 1) * SIZE + i }));
  return (
    <Loaded query={audit}>
      <ScrollTable<Entry & { key: number }> label="Audit log" size="small" scroll={{ x: 700 }} dataSource={entries}
        locale={{ emptyText: "Nothing has been done yet" }}
        pagination={{
          current: page, pageSize: SIZE, total: audit.data?.total ?? 0, onChange: setPage, showSizeChanger: false, hideOnSinglePage: true,
        }}
        columns={[
          { title: "When", className: "num", width: 170, render: (_, a) => f.time(a.at) },
          { title: "Who", dataIndex: "user", width: 110 },
          { title: "From", dataIndex: "address", width: 130 },
          { title: "What", dataIndex: "action", width: 170 },
          { title: "To what", dataIndex: "subject", ellipsis: true },
          { title: "Outcome", width: 90, render: (_, a) => <Outcome text={a.outcome} /> },
        ]} />
    </Loaded>
  );
}
