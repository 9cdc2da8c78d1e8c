// The built page in Chromium, served by `ttc web`: same answers as the Python tracker, one line for what goes wrong.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, look, MATERIAL, open, PYTHON, serve, shown } from "./browser.mjs";

const TOLERANCE = 1; // degrees
const FRAMES = 100; // of the camera, compared with Python
const folder = mkdtempSync(join(tmpdir(), "ttc-web-"));
const file = (name) => join(folder, name);
let server, browser, made;

before(async () => {
  execFileSync(PYTHON, [MATERIAL, "make", folder], { stdio: ["ignore", "inherit", "inherit"] });
  made = JSON.parse(readFileSync(file("poses.json")));
  server = await serve();
  browser = await launch({ y4m: file("camera.y4m") });
});

after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), 0);
  rmSync(folder, { recursive: true });
});

const python = (name) => made.poses.find((row) => row.file === name);
const problem = (page) => page.textContent("#problem");

function assertSamePose(found, name) {
  const wanted = python(name);
  for (const angle of ["pitch", "yaw", "roll"]) {
    const difference = Math.abs(found[angle] - wanted[angle]);
    assert.ok(difference < TOLERANCE, `${name}: ${angle} ${found[angle]}, Python says ${wanted[angle]}`);
  }
}

/** One line, not cut off, that says what is wrong. */
async function assertProblem(page, pattern) {
  await page.waitForFunction(() => !document.getElementById("problem").hidden);
  const line = await problem(page);
  assert.match(line, pattern);
  assert.doesNotMatch(line, /\n|fault of this page/);
}

test("an image has the pose that the Python tracker says", async () => {
  const { page, faults } = await open(browser, server.url);
  assertSamePose(await look(page, file("face.png")), "face.png");
  assert.deepEqual(await look(page, file("nobody.png")), { pitch: null, yaw: null, roll: null });
  assert.equal(await page.textContent("#position"), "no face");
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("a 4k image is one line, and has the same pose", async () => {
  const { page } = await open(browser, server.url);
  assertSamePose(await look(page, file("large.png")), "large.png");
  assert.match(await page.textContent("#note"), /^large\.png: 3840 × 2160 pixels, looked at in full/);
  await page.context().close();
});

test("the camera's frames have the poses that the Python tracker says, and are recorded", async () => {
  const { page, faults } = await open(browser, server.url, { permissions: ["camera"] });
  await page.evaluate(() => {
    const original = window.createImageBitmap;
    window.seen = []; // what the page gives to its tracker
    window.createImageBitmap = async (...given) => {
      const bitmap = await original(...given);
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      window.seen.push(await canvas.convertToBlob());
      return bitmap;
    };
  });
  await page.click("#camera");
  await page.waitForSelector("#record:enabled");
  await page.click("#record");
  await page.waitForFunction((count) => Number.parseInt(document.getElementById("recorded").textContent) >= count, FRAMES, { timeout: 60_000 });
  await page.click("#record");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
  await download.saveAs(file("camera.csv"));
  const count = await page.evaluate(() => window.seen.length);
  for (let index = 0; index < count; index++) {
    const content = await page.evaluate(async (index) => {
      const reader = new FileReader();
      reader.readAsDataURL(window.seen[index]);
      await new Promise((resolve) => (reader.onload = resolve));
      return reader.result.split(",")[1];
    }, index);
    writeFileSync(file(`seen-${String(index).padStart(6, "0")}.png`), Buffer.from(content, "base64"));
  }
  await page.click("#stop");
  await page.waitForSelector("#stop:disabled");
  const result = JSON.parse(execFileSync(PYTHON, [MATERIAL, "compare", folder]));
  console.log(`camera: ${result.frames} frames, angles differ by ${result.mean.toFixed(3)}° (mean), ${result.largest.toFixed(3)}° (largest)`);
  assert.ok(result.frames >= FRAMES);
  assert.ok(result.largest < TOLERANCE, `largest difference ${result.largest}°`);
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("a video is followed to its end", async () => {
  const { page } = await open(browser, server.url);
  await page.setInputFiles("#media-file", file("video.webm"));
  await page.waitForSelector("#record:enabled");
  await page.waitForFunction(() => document.getElementById("yaw").textContent !== "–");
  await page.waitForSelector("#stop:disabled", { timeout: 60_000 });
  assert.equal(await page.isHidden("#problem"), true);
  await page.context().close();
});

test("the page works with the network switched off after loading", async () => {
  const { page, faults } = await open(browser, server.url);
  await page.context().setOffline(true);
  assertSamePose(await look(page, file("face.png")), "face.png");
  await page.setInputFiles("#model-file", made.model); // as do networks from files
  await page.waitForFunction(() => document.getElementById("pose-model").textContent.includes("px"));
  assertSamePose(await look(page, file("face.png")), "face.png");
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("a broken model file is one line, and the networks before go on", async () => {
  const { page } = await open(browser, server.url);
  for (const [name, pattern] of [
    ["letter.onnx", /^letter\.onnx: 21 bytes that are not a whole ONNX model/],
    ["half.onnx", /^half\.onnx: \d+ bytes that are not a whole ONNX model/],
    ["damaged.onnx", /^damaged\.onnx: /],
  ]) {
    await page.evaluate(() => (document.getElementById("problem").hidden = true));
    await page.setInputFiles("#model-file", file(name));
    await assertProblem(page, pattern);
  }
  assertSamePose(await look(page, file("face.png")), "face.png");
  await page.context().close();
});

test("files can be dropped onto the page", async () => {
  const { page } = await open(browser, server.url);
  const drop = (name, type) =>
    page.evaluate(
      ([content, name, type]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], name, { type }));
        document.querySelector(".stage").dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
      },
      [readFileSync(name).toString("base64"), name.split("/").at(-1), type],
    );
  await drop(file("letter.onnx"), "");
  await assertProblem(page, /^letter\.onnx: /);
  await drop(file("face.png"), "image/png");
  await page.waitForFunction(() => document.getElementById("yaw").textContent !== "–");
  assert.ok(Math.abs((await shown(page, "yaw")) - python("face.png").yaw) < TOLERANCE);
  await page.context().close();
});

test("a refused camera is one line", async () => {
  const { page } = await open(browser, server.url);
  await page.click("#camera");
  await assertProblem(page, /^The camera was refused; allow it/);
  await page.context().close();
});

test("a field of view that no camera has is one line, and the one before stays", async () => {
  const { page } = await open(browser, server.url);
  const distance = async () => {
    await look(page, file("face.png"));
    return Number((await page.textContent("#position")).split(", ")[2]);
  };
  const before = await distance();
  await page.fill("#fov", "200");
  await page.keyboard.press("Tab");
  await assertProblem(page, /^A field of view is more than 0/);
  assert.equal(await distance(), before);
  await page.fill("#fov", "30");
  await page.keyboard.press("Tab");
  assert.ok((await distance()) > 1.5 * before);
  await page.context().close();
});

test("files that are neither image nor video are one line", async () => {
  const { page } = await open(browser, server.url);
  for (const name of ["wrong.png", "wrong.webm"]) {
    writeFileSync(file(name), "a letter to somebody\n");
    await page.setInputFiles("#media-file", file(name));
    await assertProblem(page, /^wrong\.\w+: .*(can't read|can't be played)/);
    await page.evaluate(() => (document.getElementById("problem").hidden = true));
  }
  await page.context().close();
});

test("where there is no WebGPU, a line says so, and all of the processor is used", async () => {
  const { page } = await open(browser, server.url);
  assert.match(await page.textContent("#backend"), /no WebGPU.*; networks run on the processor, by WebAssembly with \d threads/);
  assert.equal(await page.evaluate(() => crossOriginIsolated), true);
  await page.context().close();
});

test("everything can be reached by keyboard and has a name", async () => {
  const { page } = await open(browser, server.url, { permissions: ["camera"] });
  const reached = [];
  for (let count = 0; count < 20; count++) {
    await page.keyboard.press("Tab");
    const id = await page.evaluate(() => document.activeElement.id);
    if (!id || reached.includes(id)) break;
    reached.push(id);
  }
  assert.deepEqual(reached, ["camera", "open", "axes", "box", "landmarks", "fov", "choose"]); // those that aren't disabled
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("button, input:not([hidden]), select")].filter((e) => !(e.labels?.length || e.textContent.trim())).map((e) => e.id),
  );
  assert.deepEqual(nameless, []);
  await page.focus("#camera");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#stop:enabled");
  await page.focus("#record");
  await page.keyboard.press("Space");
  assert.equal(await page.getAttribute("#record", "aria-pressed"), "true");
  await page.context().close();
});

test("the page fits phones and desktops", async () => {
  for (const [width, height] of [[375, 812], [1440, 900]]) {
    for (const colorScheme of ["light", "dark"]) {
      const { page } = await open(browser, server.url, { viewport: { width, height }, colorScheme });
      await look(page, file("face.png"));
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
      if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `${width}-${colorScheme}.png`), fullPage: true });
      await page.context().close();
    }
  }
});

test("on WebGPU, an image has the same pose", async () => {
  const imitated = await launch({ args: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"] });
  const { page, faults } = await open(imitated, server.url);
  assert.match(await page.textContent("#backend"), /^WebGPU is only imitated on this machine; networks run on the processor/);
  const forced = await open(imitated, `${server.url}?gpu=on`);
  assert.match(await forced.page.textContent("#pose-model"), /, on WebGPU$/);
  assertSamePose(await look(forced.page, file("face.png")), "face.png");
  assert.deepEqual([...faults, ...forced.faults], []);
  await imitated.close();
});
