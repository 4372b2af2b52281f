// The objects of a CloudStack that a plan speaks of, by the names people know.
import type { Resource } from "../api/types";
import type { Resources } from "./csv";
import type { Known } from "./plan";

export const titleOf = (r: Resource): string => String(r.name ?? r["description"] ?? r.id);

/** The name of an id; the id itself where the list does not have it; null for none. */
export function nameIn(list: Resource[], id: string | undefined): string | null {
  if (!id) return null;
  const found = list.find((r) => r.id === id);
  return found ? titleOf(found) : id;
}

export const optionsOf = (list: Resource[]) => list.map((r) => ({ value: r.id, label: titleOf(r) }));
export const inZone = (list: Resource[], zone: string | undefined) => list.filter((r) => !r["zoneid"] || r["zoneid"] === zone);

export const EMPTY: Resources = {
  zones: [], clusters: [], storage: [], networks: [], serviceofferings: [], diskofferings: [], ostypes: [],
};

const ids = (list: Resource[]) => new Set(list.map((r) => r.id));

/** A list that is empty, or not there yet, says nothing about what exists. */
export function knownOf(r: Resources): Known {
  const lists: [keyof Known, Resource[]][] = [
    ["zone", r.zones], ["cluster", r.clusters], ["pool", r.storage], ["offering", r.serviceofferings],
    ["disk offering", r.diskofferings], ["OS type", r.ostypes], ["network", r.networks],
  ];
  return Object.fromEntries(lists.filter(([, list]) => list.length > 0).map(([what, list]) => [what, ids(list)]));
}
