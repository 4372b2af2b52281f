// Writes src/licences.json: what of other people's work the built page contains, from the lock file,
// with the text of each licence as the package brings it.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
const found = [];
for (const [path, entry] of Object.entries(lock.packages)) {
  if (path === "" || entry.dev || entry.devOptional) continue;
  const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
  if (name.startsWith("@types/")) continue;
  let licence = entry.license ?? "";
  let text = "";
  try {
    const own = JSON.parse(readFileSync(join(path, "package.json"), "utf8"));
    licence ||= typeof own.license === "string" ? own.license : "";
    const file = readdirSync(path).find((f) => /^(licen[cs]e|copying)(\.|$)/i.test(f));
    if (file) text = readFileSync(join(path, file), "utf8").trim();
  } catch (e) {
    if (!entry.optional) throw e;
    continue;
  }
  if (!licence) throw new Error(`${name} names no licence`);
  found.push({ name, version: entry.version, licence, text });
}
// Many packages carry the same text: each is kept once.
const texts = [];
const packages = found
  .sort((a, b) => a.name.localeCompare(b.name))
  .map(({ name, version, licence, text }) => {
    if (text === "") return { name, version, licence, text: -1 };
    let at = texts.indexOf(text);
    if (at < 0) at = texts.push(text) - 1;
    return { name, version, licence, text: at };
  });
writeFileSync("src/licences.json", JSON.stringify({ packages, texts }));
console.log(`licences: ${packages.length} packages`);
