import { Button, Result } from "antd";
import { Component, type ReactNode } from "react";

/** A fault of one page leaves the others usable. */
export class ErrorBoundary extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state = { error: null as Error | null };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    // A new version was installed while this page was open: its parts have other names now.
    const stale = /import|module|chunk/i.test(error.message);
    return (
      <Result
        status="error"
        title={stale ? "This page has been updated" : "This page has a fault"}
        subTitle={stale ? "Load it again to go on." : error.message}
        extra={<Button type="primary" onClick={() => window.location.reload()}>Load again</Button>}
      />
    );
  }
}
