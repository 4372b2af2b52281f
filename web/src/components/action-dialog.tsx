// Asks before something is done with jobs, does it, and says what came of it for each. Every VM is named;
// what cannot be taken back wants the VM's name typed, or, of several, their number.
import { Alert, App, Button, Checkbox, Input, InputNumber, Progress, Radio, Select, Tag, type InputRef } from "antd";
import { type RefObject, useEffect, useRef, useState } from "react";
import { useQueryClient } from "@tanstack/react-query";
import { actOn, changeJob, forgetJob, useWaves } from "../api/hooks";
import type { ActionInput, Job, JobChange } from "../api/types";
import { ACTIONS, type Choice, nameOf, type Outcome, runEach, wordOf } from "../lib/actions";
import * as f from "../lib/format";
import { DateTime } from "./date-time";
import { Dialog } from "./dialog";
import { situation, StateTag } from "./job-bits";

interface Asked {
  action: ActionInput;
  plan: JobChange;
}

async function perform(choice: Choice, job: Job, input: Asked): Promise<Job | null> {
  switch (choice) {
    case "forget":
      await forgetJob(job.id);
      return null;
    case "plan":
      return changeJob(job.id, input.plan);
    case "finalize-now":
      return actOn(job.id, "finalize", { now: true });
    default:
      return actOn(job.id, choice, input.action);
  }
}

function PlanFields({ plan, onChange }: { plan: JobChange; onChange: (p: JobChange) => void }) {
  const waves = useWaves();
  const set = (change: Partial<JobChange>) =>
    onChange(Object.fromEntries(Object.entries({ ...plan, ...change }).filter(([, v]) => v !== undefined)));
  const wave = plan.wave === undefined ? undefined : (plan.wave ?? "");
  return (
    <div className="fields">
      <div className="field">
        <div className="label">Wave</div>
        <Select aria-label="Wave" style={{ width: "100%" }} allowClear placeholder="as it is" value={wave}
          onChange={(v?: string) => set({ wave: v === undefined ? undefined : v || null })}
          options={[{ value: "", label: "no wave" }, ...(waves.data ?? []).map((w) => ({ value: w.name, label: w.name }))]} />
      </div>
      <div className="field">
        <div className="label">Priority, -100 to 100</div>
        <InputNumber aria-label="Priority" style={{ width: "100%" }} min={-100} max={100} precision={0} placeholder="as it is"
          value={plan.priority ?? null} onChange={(v) => set({ priority: v ?? undefined })} />
      </div>
      <DateTime label="Not before" value={plan.not_before} placeholder="as it is" disabled={plan.not_before === null}
        onChange={(v) => set({ not_before: v })} />
      <Checkbox checked={plan.not_before === null} onChange={(e) => set({ not_before: e.target.checked ? null : undefined })}>
        At any time
      </Checkbox>
    </div>
  );
}

interface FieldsProps {
  choice: Choice;
  jobs: Job[];
  input: Asked;
  onChange: (i: Asked) => void;
}

function Fields({ choice, jobs, input, onChange }: FieldsProps) {
  const { action } = input;
  const set = (change: ActionInput) => onChange({ ...input, action: { ...action, ...change } });
  const box = (key: "debug" | "keep_files" | "force" | "keep_source_off" | "source_untouched", text: string) => (
    <Checkbox checked={action[key] ?? false} onChange={(e) => set({ [key]: e.target.checked })}>{text}</Checkbox>
  );
  switch (choice) {
    case "shutdown":
      return (
        <Radio.Group value={action.choice} onChange={(e) => set({ choice: e.target.value as "force" | "manual" })}>
          <Radio value="force">Power it off, as if by its switch</Radio>
          <Radio value="manual">I have shut it down myself</Radio>
        </Radio.Group>
      );
    case "retry":
      return (
        <>
          {box("debug", "With debug output of the conversion")}
          {/* Somebody's word about one VM is not asked for many at once. */}
          {jobs.length === 1 && jobs[0]!.error?.code === "E_SOURCE_CHANGED" &&
            box("source_untouched", "I have looked: since its conversion the source was neither started nor were its disks written")}
        </>
      );
    case "cancel":
      return box("keep_files", "Keep the target files");
    case "rollback":
      return (
        <>
          {box("keep_source_off", "Leave the source powered off")}
          {box("force", "Switch the VM in CloudStack off if it does not stop")}
        </>
      );
    case "bandwidth":
      return (
        <label>
          Limit, as 200MiB/s, or by time: 08:00-18:00 50MiB/s, 200MiB/s; empty: none
          <Input value={action.limit ?? ""} onChange={(e) => set({ limit: e.target.value })} maxLength={64} />
        </label>
      );
    case "plan":
      return <PlanFields plan={input.plan} onChange={(plan) => onChange({ ...input, plan })} />;
    default:
      return null;
  }
}

function Names({ jobs, label }: { jobs: Job[]; label: string }) {
  return (
    <ul className="names" tabIndex={0} aria-label={label}>
      {jobs.map((j) => (
        <li key={j.id} className="row-tight">
          <strong className="grow">{j.vm_name} <span className="mono muted">{j.vm_moref}</span></strong>
          <span className="muted">{situation(j)}</span>
          <StateTag job={j} />
        </li>
      ))}
    </ul>
  );
}

/** What came of it, failures first. */
function Results({ outcomes, total, choice }: { outcomes: Outcome[]; total: number; choice: Choice }) {
  const failed = outcomes.filter((o) => o.error);
  const sorted = [...failed, ...outcomes.filter((o) => !o.error)];
  const done = outcomes.length - failed.length;
  return (
    <>
      <div role="status">
        {nameOf(choice)}: {done} of {total} done{failed.length > 0 && `, ${failed.length} failed`}
      </div>
      {outcomes.length < total && <Progress percent={Math.floor((100 * outcomes.length) / total)} aria-label="How many are done" />}
      <ul className="names" tabIndex={0} aria-label="Results">
        {sorted.map((o) => (
          <li key={o.job.id}>
            <div className="row-tight">
              <strong className="grow">{o.job.vm_name}</strong>
              <Tag color={o.error ? "error" : "success"}>{o.error ? (o.sent ? "failed" : "not sent") : "done"}</Tag>
            </div>
            {o.error && <div>{o.error}</div>}
            {o.hint && <div className="muted">{o.hint}</div>}
          </li>
        ))}
      </ul>
    </>
  );
}

export interface ActionDialogProps {
  jobs: Job[];
  /** Selected, but not in a state that allows it: they are named. */
  others?: Job[];
  choice: Choice | null;
  back?: RefObject<HTMLElement | null>;
  onClose: () => void;
  onDone?: (made: Job[], outcomes: Outcome[]) => void;
}

/** The jobs and the choice stay those with which it was opened, whatever changes below it. */
export function ActionDialog(props: ActionDialogProps) {
  const [opened, setOpened] = useState<{ choice: Choice; jobs: Job[]; others: Job[]; times: number } | null>(null);
  const { choice, jobs, others } = props;
  useEffect(() => {
    if (choice) setOpened((before) => ({ choice, jobs, others: others ?? [], times: (before?.times ?? 0) + 1 }));
    // Only the choice opens it: jobs go on while it is open.
  }, [choice]);
  if (!opened) return null;
  const { times, ...asked } = opened;
  return <Ask key={times} {...props} {...asked} open={choice !== null} />;
}

type AskProps = Omit<ActionDialogProps, "choice"> & { choice: Choice; others: Job[]; open: boolean };

function useRun({ choice, jobs, onClose, onDone }: AskProps, input: Asked) {
  const client = useQueryClient();
  const { message } = App.useApp();
  const [outcomes, setOutcomes] = useState<Outcome[] | null>(null);
  const [running, setRunning] = useState(false);
  const stopped = useRef(false);
  const start = async () => {
    const made: Job[] = [];
    stopped.current = false;
    setRunning(true);
    setOutcomes([]);
    const act = async (job: Job) => {
      const answer = await perform(choice, job, input);
      if (answer) made.push(answer);
    };
    const all = await runEach(jobs, act, setOutcomes, () => stopped.current);
    setRunning(false);
    for (const key of ["jobs", "job", "overview", "job-events", "waves", "vms"]) void client.invalidateQueries({ queryKey: [key] });
    // Of one that worked there is nothing to read: the dialog goes.
    if (jobs.length === 1 && !all[0]?.error) {
      void message.success(`${nameOf(choice)}: ${jobs[0]!.vm_name}`);
      onClose();
      onDone?.(made, all);
    }
    return { made, all };
  };
  return { outcomes, running, start, stop: () => (stopped.current = true), again: () => setOutcomes(null) };
}

function Ask(props: AskProps) {
  const { choice, jobs, others, open, back, onClose, onDone } = props;
  const [typed, setTyped] = useState("");
  const [input, setInput] = useState<Asked>({ action: {}, plan: {} });
  const field = useRef<InputRef>(null);
  const run = useRun(props, input);
  const say = ACTIONS[choice];
  const word = wordOf(choice, jobs);
  const many = jobs.length > 1;
  const asking = run.outcomes === null;
  const complete = choice === "shutdown" ? input.action.choice !== undefined : choice !== "plan" || Object.keys(input.plan).length > 0;
  const ready = complete && (word === null || typed.trim() === word);
  const close = () => {
    if (run.running) return;
    if (!asking && many) onDone?.([], run.outcomes!);
    onClose();
  };
  const title = many || others.length > 0 ? `${nameOf(choice)}: ${f.plural(jobs.length, "VM")}` : `${nameOf(choice)}: ${jobs[0]!.vm_name}`;
  const footer = asking ? undefined : run.running ? (
    <Button onClick={run.stop}>Ask for no more</Button>
  ) : (
    <>
      {!many && <Button onClick={run.again}>Back</Button>}
      <Button type="primary" onClick={close} autoFocus>Done</Button>
    </>
  );
  return (
    <Dialog
      open={open} back={back} title={title} width={many ? 620 : 520}
      okText={many ? `${nameOf(choice)} ${f.plural(jobs.length, "VM")}` : nameOf(choice)} cancelText="Back"
      okButtonProps={{ danger: say.danger, disabled: !ready }}
      afterOpenChange={(isOpen) => isOpen && field.current?.focus()}
      onOk={() => void run.start()} onCancel={close} footer={footer} closable={!run.running} mask={{ closable: false }}
    >
      <div className="stack">
        {asking ? (
          <>
            <div>
              {say.text} It concerns {!many && "the VM "}
              <strong>{many ? f.plural(jobs.length, "VM") : jobs[0]!.vm_name}</strong>
              {!many && jobs[0]!.vm_moref && <span className="mono"> ({jobs[0]!.vm_moref})</span>}.
            </div>
            {many && <Names jobs={jobs} label="VMs that it concerns" />}
            {others.length > 0 && (
              <details>
                <summary>{f.plural(others.length, "VM")} of the selection left out: their state does not allow it</summary>
                <Names jobs={others} label="VMs that are left out" />
              </details>
            )}
            <Fields choice={choice} jobs={jobs} input={input} onChange={setInput} />
            {word !== null && (
              <label>
                Type <strong>{word}</strong>{many && ", the number of VMs,"} to confirm
                <Input ref={field} value={typed} onChange={(e) => setTyped(e.target.value)} autoComplete="off"
                  onPressEnter={() => ready && void run.start()} />
              </label>
            )}
            {say.danger && <Alert type="warning" showIcon title="This cannot be taken back." />}
          </>
        ) : (
          <Results outcomes={run.outcomes!} total={jobs.length} choice={choice} />
        )}
      </div>
    </Dialog>
  );
}
