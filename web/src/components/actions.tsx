// What can be done with a job. Each action names the VM before it is done; what cannot be taken back
// wants the name typed.
import { MoreOutlined } from "@ant-design/icons";
import { Alert, App, Button, Checkbox, Dropdown, Input, Modal, Radio } from "antd";
import { useEffect, useState } from "react";
import { actOn, useChange } from "../api/hooks";
import type { ActionInput, Job, JobAction } from "../api/types";
import { go } from "../lib/router";
import { useSession } from "../session";
import { useOpener } from "./focus";
import { ErrorBox } from "./states";

export type Choice = JobAction | "finalize-now";

interface Say {
  label: string;
  text: string;
  typed?: boolean;
  danger?: boolean;
}

export const ACTIONS: Record<Choice, Say> = {
  finalize: { label: "Finalize…", text: "One more delta is copied, then the VM is shut down, its last changes are copied, and it is imported into CloudStack." },
  "finalize-now": { label: "Finalize now…", text: "The VM is shut down at once, without another delta before: the downtime is longer. Then it is imported into CloudStack.", typed: true, danger: true },
  shutdown: { label: "Decide the shutdown…", text: "The guest did not shut down by itself." },
  pause: { label: "Pause", text: "The copying pauses; snapshots stay." },
  resume: { label: "Resume", text: "The copying goes on." },
  stop: { label: "Stop", text: "It ends at its next checkpoint; a retry goes on from there." },
  retry: { label: "Retry", text: "A new job goes on where this one ended." },
  rehearse: { label: "Rehearse", text: "The conversion is tried on a throw-away copy; the VM is not touched." },
  bandwidth: { label: "Bandwidth…", text: "How fast this job may read." },
  cancel: { label: "Cancel…", text: "The migration is given up: its snapshots and, unless they are kept, its target files are removed.", typed: true, danger: true },
  rollback: { label: "Roll back…", text: "The VM in CloudStack is removed, and the source is powered on. What was written in CloudStack since the cutover is lost.", typed: true, danger: true },
};

export function choicesOf(job: Job): Choice[] {
  const list: Choice[] = [];
  for (const a of job.actions ?? []) {
    list.push(a);
    if (a === "finalize") list.push("finalize-now");
  }
  return list;
}

export function ActionDialog({ job, choice, onClose }: { job: Job; choice: Choice | null; onClose: () => void }) {
  const { message } = App.useApp();
  const [typed, setTyped] = useState("");
  const [input, setInput] = useState<ActionInput>({});
  const run = useChange((i: ActionInput) => actOn(job.id, choice === "finalize-now" ? "finalize" : choice!, i), "jobs", "job", "overview", "job-events");
  const { reset } = run;
  useEffect(() => {
    setTyped("");
    setInput({});
    reset();
  }, [choice, job.id, reset]);
  if (!choice) return null;
  const say = ACTIONS[choice];
  const ready = (!say.typed || typed === job.vm_name) && (choice !== "shutdown" || input.choice !== undefined);
  const box = (key: "debug" | "keep_files" | "force" | "keep_source_off", text: string) => (
    <Checkbox checked={input[key] ?? false} onChange={(e) => setInput({ ...input, [key]: e.target.checked })}>{text}</Checkbox>
  );
  const confirm = async () => {
    if (!ready) return;
    const answer = await run.mutateAsync(choice === "finalize-now" ? { now: true } : input).catch(() => null);
    if (!answer) return;
    void message.success(`${say.label.replace("…", "")}: ${job.vm_name}`);
    onClose();
    if (answer.id !== job.id) go(`/jobs/${answer.id}`);
  };
  return (
    <Modal
      open
      title={`${say.label.replace("…", "")}: ${job.vm_name}`}
      okText={say.label.replace("…", "")}
      cancelText="Back"
      okButtonProps={{ danger: say.danger, disabled: !ready }}
      confirmLoading={run.isPending}
      onOk={() => void confirm()}
      onCancel={onClose}
    >
      <div style={{ display: "flex", flexDirection: "column", gap: 12 }}>
        <div>
          {say.text} It concerns the VM <strong>{job.vm_name}</strong>
          {job.vm_moref && <span className="mono"> ({job.vm_moref})</span>}.
        </div>
        {choice === "shutdown" && (
          <Radio.Group value={input.choice} onChange={(e) => setInput({ choice: e.target.value as "force" | "manual" })}>
            <Radio value="force">Power it off, as if by its switch</Radio>
            <Radio value="manual">I have shut it down myself</Radio>
          </Radio.Group>
        )}
        {choice === "retry" && box("debug", "With debug output of the conversion")}
        {choice === "cancel" && box("keep_files", "Keep the target files")}
        {choice === "rollback" && box("keep_source_off", "Leave the source powered off")}
        {choice === "rollback" && box("force", "Switch the VM in CloudStack off if it does not stop")}
        {choice === "bandwidth" && (
          <label>
            Limit, as 200MiB/s; empty: none
            <Input value={input.limit ?? ""} onChange={(e) => setInput({ limit: e.target.value })} maxLength={64} />
          </label>
        )}
        {say.typed && (
          <label>
            Type <strong>{job.vm_name}</strong> to confirm
            <Input value={typed} onChange={(e) => setTyped(e.target.value)} autoFocus autoComplete="off" onPressEnter={() => void confirm()} />
          </label>
        )}
        {run.error && <ErrorBox error={run.error} />}
        {say.danger && <Alert type="warning" showIcon title="This cannot be taken back." />}
      </div>
    </Modal>
  );
}

export function ActionMenu({ job }: { job: Job }) {
  const { can } = useSession();
  const [choice, setChoice] = useState<Choice | null>(null);
  const opener = useOpener(choice !== null);
  const list = choicesOf(job);
  if (!can("operator") || list.length === 0) return null;
  return (
    <>
      <Dropdown autoFocus
        trigger={["click"]}
        menu={{ items: list.map((c) => ({ key: c, label: ACTIONS[c].label, danger: ACTIONS[c].danger })), onClick: ({ key }) => setChoice(key as Choice) }}
      >
        <Button size="small" icon={<MoreOutlined />} aria-label={`Actions for ${job.vm_name}`} onClick={(e) => opener(e.currentTarget)} />
      </Dropdown>
      <ActionDialog job={job} choice={choice} onClose={() => setChoice(null)} />
    </>
  );
}

export function ActionButtons({ job }: { job: Job }) {
  const { can } = useSession();
  const [choice, setChoice] = useState<Choice | null>(null);
  const opener = useOpener(choice !== null);
  if (!can("operator")) return null;
  return (
    <>
      {choicesOf(job).map((c) => (
        <Button key={c} danger={ACTIONS[c].danger} type={c === "shutdown" || c === "finalize" ? "primary" : "default"} onClick={(e) => { opener(e.currentTarget); setChoice(c); }}>
          {ACTIONS[c].label}
        </Button>
      ))}
      <ActionDialog job={job} choice={choice} onClose={() => setChoice(null)} />
    </>
  );
}
