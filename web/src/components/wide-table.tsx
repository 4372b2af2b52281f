import { Grid, Table, type TableProps } from "antd";

/** A table that is moved sideways where the screen is narrower than it, with the keyboard too. */
export function WideTable<T extends object>({ label, width, ...table }: TableProps<T> & { label: string; width: number }) {
  const wide = Grid.useBreakpoint().lg ?? true;
  return (
    <div className="scroller" role="region" aria-label={label} tabIndex={wide ? undefined : 0}>
      <Table<T> size="small" {...table} style={{ minWidth: width }} />
    </div>
  );
}
