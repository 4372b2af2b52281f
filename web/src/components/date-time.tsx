// A day and a time, picked or typed in this browser's zone; what is kept is RFC 3339 with its offset. One that
// has passed is taken, and for the page to refuse: a text that vanished without a word would help nobody.
import { DatePicker } from "antd";
import dayjs, { type Dayjs } from "dayjs";
import { parseTime, rfc3339, zone } from "../lib/format";

interface Props {
  label: string;
  value: string | null | undefined;
  onChange: (value: string | undefined) => void;
  placeholder?: string;
  disabled?: boolean;
  width?: number | string;
  /** Of the field around it, which says the zone. */
  bare?: boolean;
}

export function DateTime({ label, value, onChange, placeholder = "no time", disabled, width = "100%", bare }: Props) {
  const date = parseTime(value);
  const picked = (d: Dayjs | null) => onChange(d ? rfc3339(d.second(0).toDate()) : undefined);
  const picker = (
    <DatePicker
      aria-label={label}
      style={{ width }}
      value={date ? dayjs(date) : null}
      onChange={picked}
      showTime={{ format: "HH:mm" }}
      format={["YYYY-MM-DD HH:mm", "YYYY-MM-DD HH:mm:ss", "YYYY-MM-DD"]}
      needConfirm={false}
      placeholder={placeholder}
      disabled={disabled}
      showNow={false}
    />
  );
  if (bare) return picker;
  return (
    <div className="field">
      <div className="label">{label}</div>
      {picker}
      <div className="help muted">{date ? rfc3339(date) : `local time, ${zone()}`}</div>
    </div>
  );
}
