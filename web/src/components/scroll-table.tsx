// A table of text that may be wider than the screen: its part that scrolls can be reached by keyboard.
import { Table, type TableProps } from "antd";
import { useEffect, useRef } from "react";

export function ScrollTable<T extends object>({ label, ...props }: TableProps<T> & { label: string }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const content = box.current?.querySelector<HTMLElement>(".ant-table-content");
    content?.setAttribute("tabindex", "0");
    content?.setAttribute("role", "region");
    content?.setAttribute("aria-label", label);
  });
  return <div ref={box}><Table<T> {...props} /></div>;
}
