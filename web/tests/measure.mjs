// node tests/measure.mjs [SECONDS]: latency and memory of the page with a camera of 640 × 480 pixels, beside Python's latency.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch, MATERIAL, open, PYTHON, serve } from "./browser.mjs";

const SECONDS = Number(process.argv[2] ?? 60);
const LOOKS = 20; // at the memory
const ROWS = 1000; // recorded, for the latency

/** MB that Chromium's processes have for themselves, without garbage (Linux). */
async function memory(browser, page) {
  const own = page.workers().filter((worker) => worker.url().endsWith("/worker.js")); // others wait in WebAssembly
  for (const place of [page, ...own]) await place.evaluate(() => globalThis.gc());
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const privateMb = (id) => Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, "utf8"))[1]) / 1024;
  return processInfo.reduce((sum, { id }) => sum + privateMb(id), 0);
}

/** MB of JavaScript's objects in the page and its worker; takes up to a minute. */
const objects = (page) =>
  page.evaluate(async () => {
    const { breakdown } = await performance.measureUserAgentSpecificMemory();
    return breakdown.reduce((sum, { types, bytes }) => sum + (types.includes("JavaScript") ? bytes : 0), 0) / 1e6;
  });

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The value that this share of the sorted values doesn't exceed. */
const quantile = (values, share) => values[Math.min(values.length - 1, Math.floor(share * values.length))].toFixed(1);

const folder = mkdtempSync(join(tmpdir(), "ttc-web-"));
const file = (name) => join(folder, name);
execFileSync(PYTHON, [MATERIAL, "make", folder], { stdio: ["ignore", "inherit", "inherit"] });
const server = await serve();
const browser = await launch({ y4m: file("camera.y4m"), args: ["--js-flags=--expose-gc"] });
const { page } = await open(browser, server.url, { permissions: ["camera"] });
await page.click("#camera");
await page.waitForSelector("#record:enabled");
const before = await objects(page);
const used = [];
for (let look = 0; look < LOOKS; look++) {
  await page.waitForTimeout((1000 * SECONDS) / LOOKS);
  used.push(await memory(browser, page));
}
const after = await objects(page);
await page.click("#record"); // not before: a recorder's rows take memory
await page.waitForFunction((count) => Number.parseInt(document.getElementById("recorded").textContent) >= count, ROWS, { timeout: 0 });
await page.click("#record");
const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
await download.saveAs(file("camera.csv"));
const backend = await page.textContent("#backend");
await browser.close();
await server.stop();
const [head, ...rows] = readFileSync(file("camera.csv"), "utf8").trim().split("\r\n").map((line) => line.split(","));
const column = (name) => rows.map((row) => Number(row[head.indexOf(name)]));
const latencies = column("latency_ms").sort((a, b) => a - b);
const [times, frames] = [column("time"), column("frame")];
const fps = (frames.at(-1) - frames[0]) / (times.at(-1) - times[0]);
console.log(backend);
const part = LOOKS / 4;
console.log(`memory: ${mean(used.slice(part, 2 * part)).toFixed(0)} MB in the second quarter, ${mean(used.slice(-part)).toFixed(0)} MB in the last (${used.map((value) => value.toFixed(0)).join(" ")})`);
console.log(`JavaScript's objects: ${before.toFixed(1)} MB at first, ${after.toFixed(1)} MB at the end`);
console.log(`browser: median ${quantile(latencies, 0.5)} ms, 99 % ${quantile(latencies, 0.99)} ms, ${rows.length} frames, ${fps.toFixed(1)} per second`);
process.stdout.write(execFileSync(PYTHON, [MATERIAL, "latency", folder]));
rmSync(folder, { recursive: true });
