// What can be done with the selected jobs: offered with the number of those that allow it now.
import { Button, Dropdown } from "antd";
import { useRef, useState } from "react";
import type { Job } from "../api/types";
import { ACTIONS, type Choice, type Offer, offerLabel, offersOf, type Outcome } from "../lib/actions";
import * as f from "../lib/format";
import { ActionDialog } from "./action-dialog";
import { openLater } from "./dialog";

const FIRST: Choice[] = ["finalize", "shutdown", "pause", "resume", "retry", "cancel"];

interface Props {
  jobs: Job[];
  /** Of these, how many are not on the page that is shown. */
  elsewhere: number;
  onSelect: (jobs: Job[]) => void;
}

export function BulkBar({ jobs, elsewhere, onSelect }: Props) {
  // As it was when it was asked for: the jobs change their states by what is done.
  const [asked, setAsked] = useState<Offer | null>(null);
  const back = useRef<HTMLDivElement>(null);
  if (jobs.length === 0 && !asked) return null;
  const offers = offersOf(jobs);
  const more = offers.filter((o) => !FIRST.includes(o.choice));
  // What failed stays selected, so that it can be tried again.
  const done = (_: Job[], outcomes: Outcome[]) => {
    const worked = new Set(outcomes.filter((o) => !o.error).map((o) => o.job.id));
    onSelect(jobs.filter((j) => !worked.has(j.id)));
  };
  return (
    <div className="bulk" role="region" aria-label="Selected jobs" tabIndex={-1} ref={back}>
      <span role="status" className="num">
        <strong>{f.plural(jobs.length, "job")}</strong> selected{elsewhere > 0 && `, ${elsewhere} on other pages`}
      </span>
      <span className="grow" />
      {offers.filter((o) => FIRST.includes(o.choice)).map((o) => (
        <Button key={o.choice} size="small" danger={ACTIONS[o.choice].danger} onClick={() => setAsked(o)}>{offerLabel(o)}</Button>
      ))}
      {more.length > 0 && (
        <Dropdown
          autoFocus trigger={["click"]}
          menu={{
            items: more.map((o) => ({ key: o.choice, label: offerLabel(o), danger: ACTIONS[o.choice].danger })),
            onClick: ({ key }) => openLater(() => setAsked(more.find((o) => o.choice === key) ?? null)),
          }}
        >
          <Button size="small">More</Button>
        </Dropdown>
      )}
      <Button size="small" type="text" onClick={() => onSelect([])}>Select none</Button>
      <ActionDialog jobs={asked?.jobs ?? []} others={asked?.others ?? []} choice={asked?.choice ?? null} back={back}
        onClose={() => setAsked(null)} onDone={done} />
    </div>
  );
}
