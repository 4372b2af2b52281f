// Writes a compressed copy (.gz) beside each script and style, which the service sends to browsers that take it.
// Fails when the page's JavaScript is larger than the limit, or when it names another host.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const limit = 500 * 1024;
const dir = "dist/assets";
let total = 0;
const files = readdirSync(dir).filter((f) => /\.(js|css)$/.test(f));
const scripts = files.filter((f) => f.endsWith(".js"));
if (scripts.length === 0) throw new Error(`no JavaScript in ${dir}`);
for (const file of files) {
  const packed = gzipSync(readFileSync(join(dir, file)), { level: 9 });
  writeFileSync(join(dir, `${file}.gz`), packed);
  if (file.endsWith(".js")) total += packed.length;
}
const html = readFileSync("dist/index.html", "utf8");
if (/(src|href)="(https?:)?\/\//.test(html)) throw new Error("index.html names another host");
if (/<script(?![^>]*\bsrc=)/.test(html)) throw new Error("index.html has an inline script");
console.log(`JavaScript: ${(total / 1024).toFixed(1)} KiB compressed in ${scripts.length} files, limit ${limit / 1024} KiB`);
if (total > limit) process.exit(1);
