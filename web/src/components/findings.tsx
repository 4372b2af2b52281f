import { Tag } from "antd";
import type { Finding } from "../api/types";
import { Nothing } from "./states";

const COLOR = { pass: "success", warning: "warning", failure: "error" } as const;
const RANK = { failure: 0, warning: 1, pass: 2 } as const;

/** What a check has found, the worst first, with what can be done about it. */
export function Findings({ list }: { list: Finding[] }) {
  if (list.length === 0) return <Nothing>There are no findings</Nothing>;
  const sorted = [...list].sort((a, b) => RANK[a.level] - RANK[b.level]);
  return (
    <ul className="plain">
      {sorted.map((x, i) => (
        <li key={i}>
          <Tag color={COLOR[x.level]}>{x.level}</Tag> {x.vm && <strong>{x.vm}: </strong>}
          {x.text}
          {x.hint && <div className="muted">{x.hint}</div>}
          <div className="mono muted">{x.code}</div>
        </li>
      ))}
    </ul>
  );
}
