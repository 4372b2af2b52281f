import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import * as f from "../lib/format";
import { useDark } from "../theme";

interface Props {
  label: string;
  x: number[];
  y: number[];
  unit: "bytes" | "rate";
  time: boolean;
  bars?: boolean;
  height?: number;
}

/** The clock, with seconds where minutes would all be one; the day where another begins. */
function clock(seconds: number[]): string[] {
  const close = seconds.length > 1 && seconds[1]! - seconds[0]! < 60;
  return seconds.map((s, i) => {
    const at = new Date(s * 1000);
    const text = close ? f.time(at.toISOString(), at) : f.minute(at.toISOString(), at);
    const before = seconds[i - 1];
    return before !== undefined && f.day(new Date(before * 1000)) !== f.day(at) ? `${text}\n${f.day(at)}` : text;
  });
}

/** A chart; what it says is also in its label, for those who cannot see it. */
export function Chart({ label, x, y, unit, time, bars, height = 180 }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const dark = useDark();
  useEffect(() => {
    const el = box.current;
    if (!el) return undefined;
    const write = unit === "rate" ? f.rate : f.bytes;
    const line = dark ? "#3c9ae8" : "#1668dc";
    const axis = {
      stroke: dark ? "#b8c2cf" : "#4b5563",
      grid: { stroke: dark ? "#273140" : "#e8ecf1", width: 1 },
      ticks: { show: false },
    };
    const whole = (numbers: number[]) => numbers.map((n) => (Number.isInteger(n) ? String(n) : ""));
    // A bar at the edge is shown as a whole.
    const range: [number, number] = [(x[0] ?? 0) - 0.6, (x[x.length - 1] ?? 1) + 0.6];
    const plot = new uPlot(
      {
        width: Math.max(el.clientWidth, 100),
        height,
        legend: { show: false },
        cursor: { y: false },
        scales: { x: { time, ...(bars ? { range } : {}) }, y: { range: (_u, _min, max) => [0, Math.max(max, 1) * 1.1] } },
        axes: [
          { ...axis, size: 38, values: (_u, v) => (time ? clock(v) : whole(v)) },
          { ...axis, size: 86, values: (_u, v) => v.map((n) => (n === 0 ? "0" : write(n))) },
        ],
        series: [
          {},
          {
            stroke: line, width: 2, fill: `${line}33`, points: { show: false },
            ...(bars ? { paths: uPlot.paths.bars!({ size: [0.6, 40] }) } : {}),
          },
        ],
      },
      [x, y],
      el,
    );
    const watch = new ResizeObserver(() => plot.setSize({ width: Math.max(el.clientWidth, 100), height }));
    watch.observe(el);
    return () => {
      watch.disconnect();
      plot.destroy();
    };
  }, [x, y, unit, time, bars, height, dark]);
  return <div ref={box} className="chart" role="img" aria-label={label} />;
}
