import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const api = process.env["V2C_API"] ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react()],
  base: "./",
  build: { target: "es2022", sourcemap: false, chunkSizeWarningLimit: 1500, assetsInlineLimit: 0 },
  // `npm run dev` talks to an engine, or to the mock, that runs beside it.
  server: { proxy: { "/api": { target: api, secure: false }, "/health": { target: api, secure: false } } },
});
