import { theme as antd, type ThemeConfig } from "antd";
import { useSyncExternalStore } from "react";
import { load, save } from "./lib/local";

export type Appearance = "light" | "dark" | "system";

const KEY = "v2c.appearance";
const system = window.matchMedia("(prefers-color-scheme: dark)");
let appearance: Appearance = load<Appearance>(KEY, "system");
const listeners = new Set<() => void>();
const changed = () => listeners.forEach((l) => l());
system.addEventListener("change", changed);

export function setAppearance(next: Appearance): void {
  appearance = next;
  save(KEY, next);
  changed();
}

const subscribe = (l: () => void) => {
  listeners.add(l);
  return () => listeners.delete(l);
};
export const useAppearance = () => useSyncExternalStore(subscribe, () => appearance);
export const useDark = () =>
  useSyncExternalStore(subscribe, () => (appearance === "system" ? system.matches : appearance === "dark"));

// The colours are those of CloudStack's pages, a shade darker where text on white needs the contrast.
export function themeOf(dark: boolean): ThemeConfig {
  return {
    algorithm: dark ? antd.darkAlgorithm : antd.defaultAlgorithm,
    cssVar: { key: "v2c" },
    token: {
      colorPrimary: "#1668dc",
      colorInfo: dark ? "#4fb0ff" : "#1668dc",
      colorLink: dark ? "#65b7f3" : "#0958d9",
      colorError: dark ? "#ff8783" : "#cf1322",
      colorSuccess: dark ? "#6abe39" : "#237804",
      ...(dark ? {} : { colorSuccessBg: "#f6ffed", colorSuccessBorder: "#b7eb8f", colorWarningBg: "#fffbe6", colorWarningBorder: "#ffe58f" }),
      // The tags of these names, on dark.
      ...(dark ? { geekblue: "#85a5ff", purple: "#b98cf0", blue: "#4fb0ff" } : {}),
      colorWarning: dark ? "#e8b339" : "#8a5200",
      colorTextPlaceholder: dark ? "rgba(255,255,255,0.6)" : "rgba(0,0,0,0.6)",
      colorTextDescription: dark ? "rgba(255,255,255,0.65)" : "rgba(0,0,0,0.62)",
      colorTextTertiary: dark ? "rgba(255,255,255,0.65)" : "rgba(0,0,0,0.62)",
      colorTextDisabled: dark ? "rgba(255,255,255,0.5)" : "rgba(0,0,0,0.55)",
      colorBgLayout: dark ? "#0b1017" : "#f2f5f9",
      ...(dark ? { colorBgContainer: "#151b24", colorBgElevated: "#1c2430", colorBorderSecondary: "#273140" } : {}),
      borderRadius: 6,
      fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif',
      fontFamilyCode: 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
    },
    components: {
      Layout: { headerHeight: 52, headerPadding: "0 16px", headerBg: dark ? "#151b24" : "#ffffff", siderBg: "#001529" },
      Table: { cellPaddingBlockSM: 6, cellPaddingInlineSM: 10, headerBg: dark ? "#1b2330" : "#f7f9fc" },
      ...(dark ? { Tabs: { itemSelectedColor: "#65b7f3", itemHoverColor: "#8dcff8", inkBarColor: "#3c9ae8" } } : {}),
      Menu: { darkItemBg: "#001529", darkItemSelectedBg: "#1668dc", darkItemColor: "rgba(255,255,255,0.8)" },
      // What the pointer is on is darker, not lighter: the text on it is white.
      Button: dark ? { dangerColor: "#1f0d0c", colorPrimaryHover: "#1a66d6", defaultHoverColor: "#65b7f3", defaultHoverBorderColor: "#65b7f3" } : { colorPrimaryHover: "#0d4fb0" },
      ...(dark ? { Tabs: { itemSelectedColor: "#65b7f3", itemHoverColor: "#8ecbf8", itemActiveColor: "#65b7f3", inkBarColor: "#65b7f3" } } : {}),
      Card: { headerHeight: 46, headerFontSize: 15 },
    },
  };
}
