// What a page shows when it has nothing to show yet, or nothing at all.
import { Alert, Button, Empty, Skeleton } from "antd";
import type { ReactNode } from "react";
import { ApiError } from "../api/client";

export function ErrorBox({ error, retry, title }: { error: unknown; retry?: () => void; title?: string }) {
  const e = error instanceof Error ? error : new Error(String(error));
  const api = e instanceof ApiError ? e : null;
  return (
    <Alert
      type="error"
      showIcon
      title={title ?? e.message}
      description={
        <>
          {title && <div>{e.message}</div>}
          {api?.hint && <div>{api.hint}</div>}
          {api?.code && <div className="mono muted">{api.code}</div>}
        </>
      }
      action={retry && <Button size="small" onClick={retry}>Try again</Button>}
    />
  );
}

interface QueryLike {
  data: unknown;
  error: unknown;
  isPending: boolean;
  fetchStatus: string;
  refetch: () => unknown;
}

/** Loading and error of a query; what it brought is the child's to show. */
export function Loaded({ query, children, rows = 6 }: { query: QueryLike; children: ReactNode; rows?: number }) {
  if (query.data === undefined && query.error) return <ErrorBox error={query.error} retry={() => void query.refetch()} />;
  if (query.isPending && query.fetchStatus !== "idle")
    return (
      <div role="status" aria-label="Loading">
        <Skeleton active title={false} paragraph={{ rows }} />
      </div>
    );
  return (
    <>
      {query.error ? (
        <ErrorBox error={query.error} title="It could not be read again: what is shown may be old" retry={() => void query.refetch()} />
      ) : null}
      {children}
    </>
  );
}

export function Nothing({ children, action }: { children: ReactNode; action?: ReactNode }) {
  return (
    <Empty image={Empty.PRESENTED_IMAGE_SIMPLE} description={children} style={{ margin: "24px 0" }}>
      {action}
    </Empty>
  );
}

export function PageHead({ title, sub, children }: { title: ReactNode; sub?: ReactNode; children?: ReactNode }) {
  return (
    <header className="page-head">
      <div className="grow">
        <h1>{title}</h1>
        {sub && <p className="sub">{sub}</p>}
      </div>
      {children && <div className="row no-print">{children}</div>}
    </header>
  );
}
