// What can be done with one job: a menu in a row, buttons on its page.
import { MoreOutlined } from "@ant-design/icons";
import { Button, Dropdown } from "antd";
import { useRef, useState } from "react";
import type { Job } from "../api/types";
import { ACTIONS, type Choice, choicesOf } from "../lib/actions";
import { go } from "../lib/router";
import { useSession } from "../session";
import { ActionDialog } from "./action-dialog";
import { openLater } from "./dialog";

function useDialog(job: Job) {
  const [choice, setChoice] = useState<Choice | null>(null);
  const back = useRef<HTMLButtonElement>(null);
  // A retry, clean-up or rollback is a job of its own: its page is shown.
  const onDone = (made: Job[]) => {
    if (choice === "forget") go("/jobs");
    else if (made[0] && made[0].id !== job.id) go(`/jobs/${made[0].id}`);
  };
  const dialog = <ActionDialog jobs={[job]} choice={choice} back={back} onClose={() => setChoice(null)} onDone={onDone} />;
  return { setChoice, back, dialog };
}

export function ActionMenu({ job }: { job: Job }) {
  const { can } = useSession();
  const { setChoice, back, dialog } = useDialog(job);
  const list = choicesOf(job);
  if (!can("operator")) return null;
  return (
    <>
      <Dropdown
        autoFocus trigger={["click"]}
        disabled={list.length === 0}
        menu={{
          items: list.map((c) => ({ key: c, label: ACTIONS[c].label, danger: ACTIONS[c].danger })),
          onClick: ({ key }) => openLater(() => setChoice(key as Choice)),
        }}
      >
        <Button ref={back} size="small" icon={<MoreOutlined />} aria-label={`Actions for ${job.vm_name}`} disabled={list.length === 0} />
      </Dropdown>
      {dialog}
    </>
  );
}

/** Those that are at hand; the others are in the menu. */
const FIRST: Choice[] = ["shutdown", "finalize", "pause", "resume", "retry", "plan"];

export function ActionButtons({ job }: { job: Job }) {
  const { can } = useSession();
  const { setChoice, back, dialog } = useDialog(job);
  if (!can("operator")) return null;
  const list = choicesOf(job);
  const first = list.filter((c) => FIRST.includes(c));
  const more = list.filter((c) => !FIRST.includes(c));
  const main = first.find((c) => c === "shutdown") ?? first.find((c) => c === "finalize" || c === "retry");
  return (
    <>
      {first.map((c) => (
        <Button key={c} type={c === main ? "primary" : "default"} onClick={() => setChoice(c)}>{ACTIONS[c].label}</Button>
      ))}
      {more.length > 0 && (
        <Dropdown
          autoFocus trigger={["click"]}
          menu={{
            items: more.map((c) => ({ key: c, label: ACTIONS[c].label, danger: ACTIONS[c].danger })),
            onClick: ({ key }) => openLater(() => setChoice(key as Choice)),
          }}
        >
          <Button ref={back} icon={<MoreOutlined />}>More</Button>
        </Dropdown>
      )}
      {dialog}
    </>
  );
}
