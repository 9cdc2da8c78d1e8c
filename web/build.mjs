// src --esbuild--> ../trackertraincode/web/page, with the files of ONNX Runtime that it loads
import { cp, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const PAGE = new URL("../trackertraincode/web/page/", import.meta.url);
const SOURCE = new URL("src/", import.meta.url);
const RUNTIME = new URL("node_modules/onnxruntime-web/", import.meta.url);
const RUNTIME_FILES = [
  "ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm", // on the processor
  "ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm", // WebGPU
];

// Made elsewhere and moved when it is whole: a page that is being served is never half a page.
const scratch = await mkdtemp(fileURLToPath(new URL("node_modules/.page-", import.meta.url)));
const [made, before] = ["made/", "before/"].map((name) => new URL(name, pathToFileURL(`${scratch}/`)));
await mkdir(new URL("ort/", made), { recursive: true });
for (const name of ["index.html", "style.css", "icon.svg"]) await cp(new URL(name, SOURCE), new URL(name, made));
for (const name of RUNTIME_FILES) await cp(new URL(`dist/${name}`, RUNTIME), new URL(`ort/${name}`, made));
await cp(new URL("LICENSE.onnxruntime.txt", import.meta.url), new URL("ort/LICENSE.txt", made));
await build({
  entryPoints: ["page.ts", "worker.ts"].map((name) => fileURLToPath(new URL(name, SOURCE))),
  outdir: fileURLToPath(made),
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  logLevel: "warning",
});
await rename(PAGE, before).catch(() => {}); // the first one has none before it
await rename(made, PAGE);
await rm(scratch, { recursive: true });
