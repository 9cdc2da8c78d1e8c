// node tests/measure.mjs [SECONDS]: latency and memory of the page with a camera of 640 × 480 pixels, beside Python's latency.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch, MATERIAL, open, PYTHON, serve } from "./browser.mjs";

const SECONDS = Number(process.argv[2] ?? 60);
const STEPS = 6; // looks at the memory
const MB = 1 << 20;

/** MB of the page's own memory after garbage collection, and of all of Chromium's processes. */
async function memory(browser, page) {
  const own = (await page.evaluate(() => performance.measureUserAgentSpecificMemory())).bytes / MB;
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const resident = (id) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, "utf8"))[1]) / 1024;
  return { own, all: processInfo.reduce((sum, { id }) => sum + resident(id), 0) };
}

/** The value that this share of the sorted values doesn't exceed. */
const quantile = (values, share) => values[Math.min(values.length - 1, Math.floor(share * values.length))].toFixed(1);

const folder = mkdtempSync(join(tmpdir(), "ttc-web-"));
const file = (name) => join(folder, name);
execFileSync(PYTHON, [MATERIAL, "make", folder], { stdio: ["ignore", "inherit", "inherit"] });
const server = await serve();
const browser = await launch({ y4m: file("camera.y4m") });
const { page } = await open(browser, server.url, { permissions: ["camera"] });
await page.click("#camera");
await page.waitForSelector("#record:enabled");
await page.click("#record");
for (let step = 0; step <= STEPS; step++) {
  if (step) await page.waitForTimeout((1000 * SECONDS) / STEPS);
  const { own, all } = await memory(browser, page);
  const rows = await page.textContent("#recorded");
  console.log(`${((SECONDS * step) / STEPS).toFixed(0)} s: page ${own.toFixed(1)} MB, all processes ${all.toFixed(0)} MB, ${rows}`);
}
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
console.log(`browser: median ${quantile(latencies, 0.5)} ms, 99 % ${quantile(latencies, 0.99)} ms, ${fps.toFixed(1)} frames per second`);
process.stdout.write(execFileSync(PYTHON, [MATERIAL, "latency", folder]));
rmSync(folder, { recursive: true });
