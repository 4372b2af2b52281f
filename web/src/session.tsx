import { createContext, useContext } from "react";
import type { Me, Role } from "./api/types";

export const SessionContext = createContext<Me | null>(null);

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

export function useSession(): Me & { can: (role: Role) => boolean } {
  const me = useContext(SessionContext);
  if (!me) throw new Error("no session");
  return { ...me, can: (role) => RANK[me.role] >= RANK[role] };
}
