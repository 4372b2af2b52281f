import { QueryClientProvider } from "@tanstack/react-query";
import { App as AntApp, ConfigProvider } from "antd";
import { StrictMode, useEffect } from "react";
import { createRoot } from "react-dom/client";
import { queryClient } from "./api/hooks";
import { App } from "./app";
import { ErrorBoundary } from "./components/boundary";
import { themeOf, useDark } from "./theme";
import "./style.css";

function Root() {
  const dark = useDark();
  useEffect(() => {
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
    document.documentElement.dataset["theme"] = dark ? "dark" : "light";
  }, [dark]);
  return (
    <ConfigProvider theme={themeOf(dark)} componentSize="medium" button={{ autoInsertSpace: false }}>
      <AntApp style={{ height: "100%" }} notification={{ placement: "bottomRight" }}>
        <ErrorBoundary>
          <App />
        </ErrorBoundary>
      </AntApp>
    </ConfigProvider>
  );
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <QueryClientProvider client={queryClient}>
      <Root />
    </QueryClientProvider>
  </StrictMode>,
);
