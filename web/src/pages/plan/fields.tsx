// Fields that edit one VM of the plan or many: where those differ they say "various", and a choice holds for all.
import { Input, InputNumber, Select, Tag } from "antd";
import { DateTime } from "../../components/date-time";
import { common, VARIOUS } from "../../lib/plan";

interface FieldProps<T> {
  label: string;
  values: (T | undefined)[];
  onChange: (value: T | undefined) => void;
  hint?: string;
  disabled?: boolean;
}

const hintOf = (value: unknown, hint: string) => (value === VARIOUS ? "various" : hint);

interface ChoiceProps extends FieldProps<string> {
  list: { value: string; label: string }[];
  suggested?: boolean;
}

export function Choice({ label, values, list, onChange, disabled, suggested, hint = "not chosen" }: ChoiceProps) {
  const value = common(values);
  return (
    <div className="field">
      <div className="label">{label} {suggested && <Tag color="blue">suggested</Tag>}</div>
      <Select
        aria-label={label} style={{ width: "100%" }} allowClear showSearch={{ optionFilterProp: "label" }} disabled={disabled}
        options={list} value={value === VARIOUS ? undefined : value} placeholder={hintOf(value, hint)}
        onChange={(v?: string) => onChange(v)}
      />
    </div>
  );
}

export function NumberField({ label, values, onChange, hint = "as configured" }: FieldProps<number>) {
  const value = common(values);
  return (
    <div className="field">
      <div className="label">{label}</div>
      <InputNumber aria-label={label} min={0} precision={0} style={{ width: "100%" }} placeholder={hintOf(value, hint)}
        value={typeof value === "number" ? value : null} onChange={(v) => onChange(v ?? undefined)} />
    </div>
  );
}

export function TextField({ label, values, onChange, hint = "as configured" }: FieldProps<string>) {
  const value = common(values);
  return (
    <div className="field">
      <div className="label">{label}</div>
      <Input aria-label={label} value={typeof value === "string" ? value : ""} placeholder={hintOf(value, hint)}
        onChange={(e) => onChange(e.target.value || undefined)} />
    </div>
  );
}

export function TimeField({ label, values, onChange, hint = "no time" }: FieldProps<string>) {
  const value = common(values);
  return <DateTime label={label} value={typeof value === "string" ? value : null} placeholder={hintOf(value, hint)} onChange={onChange} />;
}

export const words = (...list: string[]) => list.map((v) => ({ value: v, label: v }));
