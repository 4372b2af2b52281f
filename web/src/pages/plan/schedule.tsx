// When the plan begins: its wave, one of the list or a new one, its priority and its time.
import { AutoComplete, Card, InputNumber, Tag } from "antd";
import { useWaves } from "../../api/hooks";
import { DateTime } from "../../components/date-time";
import { parseTime, plural } from "../../lib/format";
import { changePlan, usePlan } from "../../lib/plan-store";
import { totalOf, windowText } from "../../lib/waves";

export function Schedule() {
  const plan = usePlan();
  const waves = useWaves();
  const wave = waves.data?.find((w) => w.name === plan.wave.trim());
  const over = wave?.not_after && Date.parse(wave.not_after) < Date.now();
  const past = plan.notBefore && (parseTime(plan.notBefore)?.getTime() ?? 0) < Date.now();
  return (
    <Card size="small" title="When they begin">
      <div className="fields">
        <div className="field">
          <div className="label">
            Wave {plan.wave.trim() && waves.data && !wave && <Tag color="blue">new</Tag>}
            {over && <Tag color="warning">its window is over</Tag>}
          </div>
          <AutoComplete
            aria-label="Wave" style={{ width: "100%" }} allowClear placeholder="none; or one of the list, or a new name"
            value={plan.wave} onChange={(v?: string) => changePlan((p) => ({ ...p, wave: (v ?? "").slice(0, 64) }))}
            showSearch={{ filterOption: (text, o) => String(o?.value ?? "").toLowerCase().includes(text.toLowerCase()) }}
            options={(waves.data ?? []).map((w) => ({ value: w.name, label: `${w.name} (${plural(totalOf(w), "job")})` }))}
          />
          <div className="help muted">
            {wave
              ? `${windowText(wave)}, ${wave.concurrency ? `${wave.concurrency} at once` : "no limit of its own"}`
              : "Its order and window are set on the page Waves."}
          </div>
        </div>
        <div className="field">
          <div className="label">Priority, -100 to 100</div>
          <InputNumber aria-label="Priority" style={{ width: "100%" }} min={-100} max={100} precision={0} value={plan.priority}
            onChange={(v) => changePlan((p) => ({ ...p, priority: v ?? 0 }))} />
          <div className="help muted">The higher begins first.</div>
        </div>
        <div>
          <DateTime label="Not before" value={plan.notBefore} placeholder="as soon as there is room"
            onChange={(v) => changePlan((p) => ({ ...p, notBefore: v ?? null }))} />
          {past && <div className="help warn">This time has passed: they begin at once.</div>}
        </div>
      </div>
    </Card>
  );
}
