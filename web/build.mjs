// src --esbuild--> ../trackertraincode/web/page, with the files of ONNX Runtime that it loads
import { cp, mkdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const PAGE = new URL("../trackertraincode/web/page/", import.meta.url);
const SOURCE = new URL("src/", import.meta.url);
const RUNTIME = new URL("node_modules/onnxruntime-web/", import.meta.url);
const RUNTIME_FILES = [
  "ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm", // on the processor
  "ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm", // WebGPU
];

await rm(PAGE, { recursive: true, force: true });
await mkdir(new URL("ort/", PAGE), { recursive: true });
for (const name of ["index.html", "style.css", "icon.svg"]) await cp(new URL(name, SOURCE), new URL(name, PAGE));
for (const name of RUNTIME_FILES) await cp(new URL(`dist/${name}`, RUNTIME), new URL(`ort/${name}`, PAGE));
await cp(new URL("LICENSE.onnxruntime.txt", import.meta.url), new URL("ort/LICENSE.txt", PAGE));
await build({
  entryPoints: ["page.ts", "worker.ts"].map((name) => fileURLToPath(new URL(name, SOURCE))),
  outdir: fileURLToPath(PAGE),
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  logLevel: "warning",
});
