// The contract, for the mock: finds the operation of a request, and checks bodies against its schemas.
import { readFileSync } from "node:fs";
import Ajv from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { parse } from "yaml";

const doc = parse(readFileSync(new URL("../../src/api/openapi.yaml", import.meta.url), "utf8"));
const ajv = new Ajv({ strict: false, allErrors: true });
formats.default(ajv);
ajv.addSchema(doc, "openapi");

const pointer = (...parts) => parts.map((p) => String(p).replaceAll("~", "~0").replaceAll("/", "~1")).map(encodeURIComponent).join("/");
const compiled = new Map();
function validator(path) {
  if (!compiled.has(path)) compiled.set(path, ajv.compile({ $ref: `openapi#/${path}` }));
  return compiled.get(path);
}

const routes = Object.entries(doc.paths).map(([path, item]) => ({
  path,
  item,
  names: [...path.matchAll(/\{(\w+)\}/g)].map((m) => m[1]),
  re: new RegExp(`^${path.replace(/\{\w+\}/g, "([^/]+)")}$`),
  fixed: !path.includes("{"),
}));
routes.sort((a, b) => Number(b.fixed) - Number(a.fixed));

export function find(method, pathname) {
  for (const r of routes) {
    const m = r.re.exec(pathname);
    if (!m) continue;
    const op = r.item[method.toLowerCase()];
    if (!op) return { status: 405 };
    const params = Object.fromEntries(r.names.map((n, i) => [n, decodeURIComponent(m[i + 1])]));
    return { op, path: r.path, method: method.toLowerCase(), params };
  }
  return { status: 404 };
}

const message = (v) => ajv.errorsText(v.errors, { dataVar: "body" });

export function checkRequest({ op, path, method }, body) {
  if (!op.requestBody) return body === undefined ? null : "no body is expected";
  if (body === undefined) return op.requestBody.required ? "a body is needed" : null;
  const v = validator(pointer("paths", path, method, "requestBody", "content", "application/json", "schema"));
  return v(body) ? null : message(v);
}

export function checkAnswer({ op, path, method }, status, body) {
  const named = op.responses[String(status)];
  if (!named && status < 400) return `status ${status} is not in the contract of ${method} ${path}`;
  if (!named) {
    const v = validator(pointer("components", "schemas", "Error"));
    return v(body) ? null : message(v);
  }
  if (!named.content?.["application/json"]) return null;
  const v = validator(pointer("paths", path, method, "responses", status, "content", "application/json", "schema"));
  return v(body) ? null : `${method} ${path}: ${message(v)}`;
}
