// Import of a wave as CSV: one row a VM; names or ids of what is in CloudStack.
import type { Resource, Vm } from "../api/types";
import { type Draft, draftOf, findVm, type Placement, setPlacement, setStrategy, type Strategy } from "./plan";

export interface Table {
  header: string[];
  rows: { line: number; cells: string[] }[];
}

/** RFC 4180, with commas or semicolons: quotes may hold both, and line ends. */
export function parseCsv(text: string): Table {
  const source = text.replace(/^\uFEFF/, "");
  const firstLine = source.split(/\r?\n/, 1)[0] ?? "";
  const separator = firstLine.includes(";") && !firstLine.includes(",") ? ";" : ",";
  const rows: { line: number; cells: string[] }[] = [];
  let cells: string[] = [];
  let cell = "";
  let quoted = false;
  let line = 1;
  let start = 1;
  const endRow = () => {
    cells.push(cell.trim());
    cell = "";
    if (cells.some((c) => c !== "") && !cells[0]!.startsWith("#")) rows.push({ line: start, cells });
    cells = [];
  };
  for (let i = 0; i < source.length; i++) {
    const c = source[i]!;
    if (c === "\n") line++;
    if (quoted) {
      if (c !== '"') cell += c;
      else if (source[i + 1] === '"') {
        cell += '"';
        i++;
      } else quoted = false;
    } else if (c === '"' && cell.trim() === "") {
      cell = "";
      quoted = true;
    } else if (c === separator) {
      cells.push(cell.trim());
      cell = "";
    } else if (c === "\n") {
      endRow();
      start = line;
    } else if (c !== "\r") cell += c;
  }
  if (quoted) throw new Error(`line ${start}: a quote is not closed`);
  endRow();
  const header = rows.shift();
  if (!header) throw new Error("the file is empty");
  return { header: header.cells.map((h) => h.toLowerCase().replace(/[\s-]+/g, "_")), rows };
}

export interface Resources {
  zones: Resource[];
  clusters: Resource[];
  storage: Resource[];
  networks: Resource[];
  serviceofferings: Resource[];
  diskofferings: Resource[];
  ostypes: Resource[];
}

const ALIASES: Record<string, string> = {
  vm: "name", vm_name: "name", vm_moref: "moref",
  zoneid: "zone", clusterid: "cluster",
  storageid: "pool", storage: "pool", storage_pool: "pool",
  networkid: "network", serviceofferingid: "offering", service_offering: "offering",
  diskofferingid: "disk_offering", ostypeid: "os_type", ostype: "os_type",
  boottype: "boot_type", bootmode: "boot_mode",
};

const PLACES: Record<string, [keyof Resources, keyof Placement]> = {
  zone: ["zones", "zoneid"],
  cluster: ["clusters", "clusterid"],
  pool: ["storage", "storageid"],
  offering: ["serviceofferings", "serviceofferingid"],
  disk_offering: ["diskofferings", "diskofferingid"],
  os_type: ["ostypes", "ostypeid"],
};
const NUMBERS = ["delta_interval", "finalize_window", "finalize_delta_interval", "finalize_settle_seconds",
  "cutover_max_downtime", "readers", "parallel_disks"];
const TEXTS = ["finalize_at", "shutdown_mode", "snapshot_quiesce", "verify", "bandwidth_limit", "on_failure",
  "import_method"];
const BOOLEANS = ["run_virt_v2v", "start_vm_after_import"];
const PLAIN: Record<string, keyof Placement> = {
  boot_type: "boottype", boot_mode: "bootmode", rootdiskcontroller: "rootdiskcontroller", nicadapter: "nicadapter",
  account: "account", domainid: "domainid", projectid: "projectid",
};
export const CSV_COLUMNS = ["name", "moref", "datacenter", "wave", "network", ...Object.keys(PLACES),
  ...Object.keys(PLAIN), ...NUMBERS, ...TEXTS, ...BOOLEANS];

const title = (r: Resource) => String(r.name ?? r["description"] ?? r.id);

/** A resource by id, or by a name that only one has; of a zone where it has one. */
export function findResource(list: Resource[], what: string, text: string, zone?: string): string {
  const byId = list.find((r) => r.id === text);
  if (byId) return byId.id;
  const named = list.filter(
    (r) => title(r).toLowerCase() === text.toLowerCase() && (!zone || !r["zoneid"] || r["zoneid"] === zone),
  );
  if (named.length === 1) return named[0]!.id;
  throw new Error(named.length === 0 ? `there is no ${what} ${text}` : `${named.length} have the name ${text}: give the id of the ${what}`);
}

function boolean(text: string): boolean {
  if (/^(true|yes|on|1)$/i.test(text)) return true;
  if (/^(false|no|off|0)$/i.test(text)) return false;
  throw new Error(`${text} is neither true nor false`);
}

function rowDraft(vm: Vm, row: Record<string, string>, resources: Resources): Draft {
  let draft = draftOf(vm);
  const place: Partial<Placement> = {};
  for (const [column, [list, field]] of Object.entries(PLACES))
    if (row[column]) place[field] = findResource(resources[list], column.replaceAll("_", " "), row[column], place.zoneid);
  for (const [column, field] of Object.entries(PLAIN)) if (row[column]) place[field] = row[column];
  draft = setPlacement(draft, place);
  const strategy: Record<string, unknown> = {};
  for (const column of NUMBERS) {
    if (!row[column]) continue;
    if (!/^\d+$/.test(row[column])) throw new Error(`${column}: ${row[column]} is no number`);
    strategy[column] = Number(row[column]);
  }
  for (const column of TEXTS) if (row[column]) strategy[column] = row[column];
  for (const column of BOOLEANS) if (row[column]) strategy[column] = boolean(row[column]);
  draft = setStrategy(draft, strategy as Strategy);
  if (row["network"]) {
    // One network, or one for each NIC in the VM's order, with | between them.
    const names = row["network"].split("|").map((n) => n.trim());
    if (names.length > draft.nics.length)
      throw new Error(`${names.length} networks for ${draft.nics.length} network adapters`);
    names.forEach((name, i) => {
      if (name) draft.nics[i]!.networkid = findResource(resources.networks, "network", name, place.zoneid);
    });
  }
  return draft;
}

export interface CsvResult {
  drafts: Draft[];
  wave: string | null;
  errors: string[];
}

/** All of it or nothing is for the caller to decide: each row that is wrong is named with its line. */
export function importCsv(text: string, vms: Vm[], resources: Resources): CsvResult {
  const result: CsvResult = { drafts: [], wave: null, errors: [] };
  let table: Table;
  try {
    table = parseCsv(text);
  } catch (e) {
    return { ...result, errors: [(e as Error).message] };
  }
  const columns = table.header.map((h) => ALIASES[h] ?? h);
  for (const [i, c] of columns.entries()) {
    if (!CSV_COLUMNS.includes(c)) result.errors.push(`line 1: unknown column ${table.header[i]}`);
    else if (columns.indexOf(c) !== i) result.errors.push(`line 1: two columns say ${c}`);
  }
  if (!columns.includes("name") && !columns.includes("moref"))
    result.errors.push("line 1: a column name or moref is needed");
  if (result.errors.length > 0) return result;
  const seen = new Map<string, number>();
  for (const { line, cells } of table.rows) {
    try {
      if (cells.length > columns.length) throw new Error(`${cells.length} cells under ${columns.length} columns`);
      const row = Object.fromEntries(columns.map((c, i) => [c, cells[i] ?? ""]));
      const vm = findVm(vms, row);
      if (typeof vm === "string") throw new Error(vm);
      const before = seen.get(vm.moref);
      if (before) throw new Error(`${vm.name} is in line ${before} already`);
      seen.set(vm.moref, line);
      if (row["wave"]) {
        if (result.wave !== null && result.wave !== row["wave"])
          throw new Error(`a second wave ${row["wave"]}: one file is one wave (${result.wave})`);
        result.wave = row["wave"];
      }
      result.drafts.push(rowDraft(vm, row, resources));
    } catch (e) {
      result.errors.push(`line ${line}: ${(e as Error).message}`);
    }
  }
  return result;
}
