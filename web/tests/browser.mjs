// Chromium with the page in it; what tests and measurements share.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const PYTHON = process.env.PYTHON ?? "python";
export const MATERIAL = fileURLToPath(new URL("material.py", import.meta.url));
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const SANDBOX = process.getuid?.() === 0 ? ["--no-sandbox"] : []; // Chromium refuses root's

const PATIENCE = 120_000; // ms; a machine may be slow, and what hangs ends nevertheless

/** `ttc web` as a user starts it, when it serves; ends with `stop()`. */
export async function serve() {
  const server = spawn(PYTHON, ["-m", "trackertraincode", "web"], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => server.once("exit", (code, signal) => resolve(code ?? signal)));
  for await (const line of createInterface({ input: server.stdout })) {
    const stop = async () => {
      server.kill("SIGINT");
      return ended;
    };
    return { url: line.split(" ")[0], stop };
  }
  throw new Error(`ttc web ended (${await ended}) before it served; see above`);
}

/** y4m: file that the fake camera shows. */
export function launch({ y4m, args = [] } = {}) {
  const camera = y4m ? ["--use-fake-device-for-media-stream", `--use-file-for-fake-video-capture=${y4m}`] : [];
  return chromium.launch({ executablePath: CHROMIUM, args: [...SANDBOX, ...camera, ...args], timeout: PATIENCE });
}

/** The page, with its networks loaded. `faults` gets what its console and its requests complain of. */
export async function open(browser, url, settings = {}) {
  const context = await browser.newContext(settings);
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("crash", () => faults.push("the page's process ended"));
  page.on("request", (request) => {
    const own = new URL(url).origin;
    if (!request.url().startsWith(own) && !request.url().startsWith(`blob:${own}`)) faults.push(`request to ${request.url()}`);
  });
  await page.goto(url);
  await page.waitForFunction(() => document.body.dataset.ready || !document.getElementById("problem").hidden);
  return { page, faults };
}

/** A number of the page; null where it shows none. */
export async function shown(page, id) {
  const value = Number.parseFloat((await page.textContent(`#${id}`)).replace("−", "-"));
  return Number.isNaN(value) ? null : value;
}

/** Give the page a file to look at, and wait until it has something to say. */
export async function look(page, file) {
  await page.evaluate(() => (document.getElementById("latency").textContent = ""));
  await page.setInputFiles("#media-file", file);
  await page.waitForFunction(() => document.getElementById("latency").textContent || !document.getElementById("problem").hidden);
  return { pitch: await shown(page, "pitch"), yaw: await shown(page, "yaw"), roll: await shown(page, "roll") };
}
