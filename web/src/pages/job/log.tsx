// The end of a job's log as it grows, with a search; all of it as a download.
import { Button, Checkbox, Input } from "antd";
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { seg, url } from "../../api/client";
import { useJobLog } from "../../api/hooks";
import { Loaded } from "../../components/states";
import * as f from "../../lib/format";

const LINES = 2000;
const MARKS = 500;

function marked(lines: string[], text: string): ReactNode {
  if (!text || lines.length > MARKS) return lines.join("\n");
  const lower = text.toLowerCase();
  return lines.map((line, i) => {
    const at = line.toLowerCase().indexOf(lower);
    return (
      <span key={i}>
        {line.slice(0, at)}<mark>{line.slice(at, at + text.length)}</mark>{line.slice(at + text.length)}{"\n"}
      </span>
    );
  });
}

export function Log({ id, follow }: { id: string; follow: boolean }) {
  const log = useJobLog(id, LINES, follow);
  const [text, setText] = useState("");
  const [tail, setTail] = useState(true);
  const box = useRef<HTMLPreElement>(null);
  const all = useMemo(() => (log.data ?? "").replace(/\n$/, "").split("\n"), [log.data]);
  const lines = useMemo(() => (text ? all.filter((l) => l.toLowerCase().includes(text.toLowerCase())) : all), [all, text]);
  useEffect(() => {
    if (tail && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines, tail]);
  // Who scrolls up wants to read: what arrives does not pull them down.
  const scrolled = () => {
    const el = box.current;
    if (el && follow) setTail(el.scrollHeight - el.scrollTop - el.clientHeight < 40);
  };
  return (
    <Loaded query={log}>
      <div className="row" style={{ marginBottom: 8 }}>
        <Input.Search aria-label="Search the log" placeholder="Only lines with" allowClear style={{ width: 240 }}
          onChange={(e) => setText(e.target.value)} />
        <Checkbox checked={tail} onChange={(e) => setTail(e.target.checked)}>Follow</Checkbox>
        <span className="grow muted num">
          {f.plural(lines.length, "line")}{all.length >= LINES && `, the last ${LINES} of the log`}
        </span>
        <Button href={url(`/api/v1/jobs/${seg(id)}/log`, { download: true })} download={`${id}.log`}>Download all</Button>
      </div>
      <pre className="text log" ref={box} tabIndex={0} aria-label="Log" onScroll={scrolled}>
        {log.data ? marked(lines, text) : "Nothing."}
      </pre>
    </Loaded>
  );
}
