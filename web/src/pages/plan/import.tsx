// A wave from a file: CSV, or YAML as `v2c-engine run` takes it. A file with a fault brings nothing.
import { Alert, App, Button } from "antd";
import { useRef } from "react";
import { renderSpecs } from "../../api/hooks";
import type { Vm } from "../../api/types";
import { CSV_COLUMNS, type CsvResult, importCsv, type Resources } from "../../lib/csv";
import * as f from "../../lib/format";
import { download } from "../../lib/local";
import { draftFromSpec, findVm, importDrafts } from "../../lib/plan";
import { changePlan } from "../../lib/plan-store";

async function importYaml(text: string, vms: Vm[]): Promise<CsvResult> {
  const result: CsvResult = { drafts: [], wave: null, errors: [] };
  try {
    const rendered = await renderSpecs({ yaml: text });
    for (const spec of rendered.vms) {
      const vm = findVm(vms, spec.vm ?? {});
      if (typeof vm === "string") result.errors.push(vm);
      else result.drafts.push(draftFromSpec(vm, spec));
    }
    // A spec without any VM that could be read: its problems say why.
    if (rendered.vms.length === 0) result.errors.push(...rendered.problems);
  } catch (e) {
    result.errors.push((e as Error).message);
  }
  return result;
}

interface Props {
  vcenter: string | null;
  vms: Vm[] | undefined;
  resources: Resources;
  onFaults: (faults: string[]) => void;
}

export function Import({ vcenter, vms, resources, onFaults }: Props) {
  const { message } = App.useApp();
  const input = useRef<HTMLInputElement>(null);
  const bring = async (file: File) => {
    if (!vcenter || !vms) return onFaults(["Choose the vCenter first, and wait until its VMs are read"]);
    const text = await file.text();
    const { drafts, wave, errors } = /\.ya?ml$/i.test(file.name) ? await importYaml(text, vms) : importCsv(text, vms, resources);
    if (errors.length === 0 && drafts.length === 0) errors.push("it names no VM");
    onFaults(errors);
    if (errors.length > 0) return undefined;
    changePlan((p) => ({ ...importDrafts(p, vcenter, drafts), wave: wave ?? p.wave }));
    void message.success(`${f.plural(drafts.length, "VM")} imported`);
    return undefined;
  };
  return (
    <>
      <input ref={input} type="file" accept=".csv,.yaml,.yml" hidden aria-label="File to import"
        onChange={(e) => {
          const file = e.target.files?.[0];
          if (file) void bring(file);
          e.target.value = "";
        }} />
      <Button onClick={() => input.current?.click()} disabled={!vcenter}>Import CSV or YAML</Button>
      <Button onClick={() => download("wave.csv", `${CSV_COLUMNS.join(",")}\n`, "text/csv")}>CSV template</Button>
    </>
  );
}

export function Faults({ list, onClose }: { list: string[]; onClose: () => void }) {
  if (list.length === 0) return null;
  return (
    <Alert type="error" showIcon closable={{ onClose }} title="The file was not imported"
      description={<ul>{list.map((x) => <li key={x}>{x}</li>)}</ul>} />
  );
}
