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
  const code = await server?.stop();
  rmSync(folder, { recursive: true });
  if (server) assert.equal(code, 0);
});

/** The page, until the end of a test, however that ends. */
async function opened(t, settings, url = server.url, used = browser) {
  const found = await open(used, url, settings);
  t.after(() => found.page.context().close());
  return found;
}

/** Type into a field, and leave it. */
async function fill(page, field, text) {
  await page.fill(field, text);
  await page.keyboard.press("Tab");
}

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

test("an image has the pose that the Python tracker says", async (t) => {
  const { page, faults } = await opened(t);
  assertSamePose(await look(page, file("face.png")), "face.png");
  assert.deepEqual(await look(page, file("nobody.png")), { pitch: null, yaw: null, roll: null });
  assert.equal(await page.textContent("#position"), "no face");
  assert.deepEqual(faults, []);
});

test("a 4k image is one line, and has the same pose", async (t) => {
  const { page } = await opened(t);
  assertSamePose(await look(page, file("large.png")), "large.png");
  assert.match(await page.textContent("#note"), /^large\.png: 3840 × 2160 pixels, looked at in full/);
});

/** Keep what the page gives to its tracker: frames and their times. */
async function watch(page) {
  await page.evaluate(() => {
    const post = Worker.prototype.postMessage;
    window.seen = [];
    Worker.prototype.postMessage = function (request, moved) {
      if (request.call === "frame") {
        const { bitmap, seconds } = request.given;
        const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
        canvas.getContext("2d").drawImage(bitmap, 0, 0);
        window.seen.push({ canvas, seconds });
      }
      post.call(this, request, moved);
    };
  });
}

/** Record so many rows of the camera, and compare them with what `ttc track` writes and sends of the same frames. */
async function recordAndCompare(page, rows, heads, words = []) {
  await page.click("#camera");
  await page.waitForSelector("#record:enabled");
  await page.click("#record");
  await page.waitForFunction((count) => Number.parseInt(document.getElementById("recorded").textContent) >= count, rows);
  await page.click("#record");
  await page.click("#stop");
  await page.waitForSelector("#stop:disabled");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
  await download.saveAs(file("page.csv"));
  const times = await page.evaluate(() => window.seen.map(({ seconds }) => seconds));
  for (let index = 0; index < times.length; index++) {
    const content = await page.evaluate(async (index) => {
      const reader = new FileReader();
      reader.readAsDataURL(await window.seen[index].canvas.convertToBlob());
      await new Promise((resolve) => (reader.onload = resolve));
      return reader.result.split(",")[1];
    }, index);
    writeFileSync(file(`seen-${String(index).padStart(6, "0")}.png`), Buffer.from(content, "base64"));
  }
  writeFileSync(file("times.json"), JSON.stringify(times));
  const result = JSON.parse(execFileSync(PYTHON, [MATERIAL, "compare", folder, heads, "--", ...words], { stdio: ["ignore", "pipe", "ignore"] }));
  for (let index = 0; index < times.length; index++) rmSync(file(`seen-${String(index).padStart(6, "0")}.png`));
  const said = Object.entries(result.largest).map(([pair, { cm, degrees }]) => `${pair} ${degrees.toPrecision(2)}°, ${cm.toPrecision(2)} cm`);
  console.log(`${result.frames} frames, ${result.heads} heads; largest differences: ${said.join("; ")}`);
  return result;
}

test("page, tracker and receiver of datagrams agree on 100 frames of a camera, filter included", async (t) => {
  const { page, faults } = await opened(t, { permissions: ["camera"] });
  assert.equal(await page.inputValue("#filter"), "kalman");
  await watch(page);
  const { frames, heads, alone, angles, largest } = await recordAndCompare(page, FRAMES, 1);
  assert.ok(frames >= FRAMES && heads >= FRAMES - 2);
  assert.equal(alone, 0);
  assert.ok(angles < TOLERANCE, `angles of page and tracker differ by ${angles}°`);
  for (const [pair, { cm, degrees }] of Object.entries(largest)) {
    const [most, farthest] = pair === "tracker and receiver" ? [1e-6, 1e-6] : [TOLERANCE, 1];
    assert.ok(degrees < most && cm < farthest, `${pair} differ by ${degrees}° and ${cm} cm`);
  }
  assert.deepEqual(faults, []);
});

test("two people who cross before the camera have the numbers and poses that the Python tracker says", async (t) => {
  const used = await launch({ y4m: file("crossing.y4m") });
  t.after(() => used.close());
  const { page, faults } = await opened(t, { permissions: ["camera"] }, server.url, used);
  await fill(page, "#heads", "2");
  await page.selectOption("#filter", "one-euro");
  await watch(page);
  const { frames, heads, numbers, alone, angles } = await recordAndCompare(page, FRAMES, 2, ["--filter", "one-euro"]);
  assert.ok(numbers >= 2 && heads > frames);
  assert.equal(alone, 0);
  assert.ok(angles < TOLERANCE, `angles of page and tracker differ by ${angles}°`);
  assert.deepEqual(faults, []);
});

test("in an image, several heads are found when they are asked for", async (t) => {
  const { page } = await opened(t);
  await fill(page, "#heads", "2");
  assertSamePose(await look(page, file("two.png")), "two.png");
  assert.equal(python("two.png").heads, 2);
  assert.equal(await page.textContent("#pose-title"), "Pose of head 1, one of 2");
  if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, "two-heads.png") });
  await fill(page, "#heads", "0");
  await assertProblem(page, /^Heads are a whole number from 1 to 20\./);
});

test("a video is followed to its end", async (t) => {
  const { page } = await opened(t);
  await page.setInputFiles("#media-file", file("video.webm"));
  await page.waitForSelector("#record:enabled");
  await page.waitForFunction(() => document.getElementById("yaw").textContent !== "–");
  await page.waitForSelector("#stop:disabled");
  assert.equal(await page.isHidden("#problem"), true);
});

test("the page works with the network switched off after loading", async (t) => {
  const { page, faults } = await opened(t);
  await page.context().setOffline(true);
  assertSamePose(await look(page, file("face.png")), "face.png");
  await page.setInputFiles("#model-file", made.model); // as do networks from files
  await page.waitForFunction(() => document.getElementById("pose-model").textContent.includes("px"));
  assertSamePose(await look(page, file("face.png")), "face.png");
  assert.deepEqual(faults, []);
});

test("a broken model file is one line, and the networks before go on", async (t) => {
  const { page } = await opened(t);
  for (const [name, pattern] of [
    ["letter.onnx", /^letter\.onnx: 21 bytes that are not a whole ONNX model/],
    ["half.onnx", /^half\.onnx: \d+ bytes that are not a whole ONNX model/],
    ["damaged.onnx", /^damaged\.onnx: /],
    ["other.onnx", /^other\.onnx: output pose or quat is missing; found y\.$/],
  ]) {
    await page.evaluate(() => (document.getElementById("problem").hidden = true));
    await page.setInputFiles("#model-file", file(name));
    await assertProblem(page, pattern);
  }
  assertSamePose(await look(page, file("face.png")), "face.png");
});

test("files can be dropped onto the page", async (t) => {
  const { page } = await opened(t);
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
});

test("of sources begun one on another, the last one is seen, and the others let go of the camera", async (t) => {
  const { page, faults } = await opened(t, { permissions: ["camera"] });
  const live = () => page.evaluate(() => globalThis.streams.map((stream) => stream.getTracks()[0].readyState));
  await page.evaluate(() => {
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    globalThis.streams = [];
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      globalThis.streams.push(await ask(wanted));
      return globalThis.streams.at(-1);
    };
  });
  await page.dblclick("#camera");
  await page.waitForSelector("#record:enabled");
  assert.deepEqual((await live()).sort(), ["ended", "live"]);
  await page.click("#camera");
  assertSamePose(await look(page, file("face.png")), "face.png");
  await page.waitForFunction(() => globalThis.streams.length === 3 && globalThis.streams.every((stream) => !stream.active));
  assert.equal(await page.isDisabled("#stop"), true);
  assert.equal(await page.isHidden("#problem"), true);
  assert.equal(await shown(page, "fps"), null);
  assert.deepEqual(faults, []);
});

test("a refused camera is one line", async (t) => {
  const { page } = await opened(t);
  await page.click("#camera");
  await assertProblem(page, /^The camera was refused; allow it/);
});

test("a field of view that no camera has is one line, and the one before stays", async (t) => {
  const { page } = await opened(t);
  const distance = async () => {
    await look(page, file("face.png"));
    return Number((await page.textContent("#position")).split(", ")[2]);
  };
  const before = await distance();
  await fill(page, "#fov", "200");
  await assertProblem(page, /^A field of view is more than 0/);
  assert.equal(await distance(), before);
  await fill(page, "#fov", "30");
  assert.ok((await distance()) > 1.5 * before);
});

test("files that are neither image nor video are one line", async (t) => {
  const { page } = await opened(t);
  for (const name of ["wrong.png", "wrong.webm"]) {
    writeFileSync(file(name), "a letter to somebody\n");
    await page.setInputFiles("#media-file", file(name));
    await assertProblem(page, /^wrong\.\w+: .*(can't read|can't be played)/);
    await page.evaluate(() => (document.getElementById("problem").hidden = true));
  }
});

test("a file with sound only is one line", async (t) => {
  const { page } = await opened(t);
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + 8000, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  [1, 1, 8000, 0, 8000, 0, 1, 8].forEach((value, place) => header.writeUInt16LE(value, 20 + 2 * place)); // a second of 8 bits
  header.write("data", 36);
  header.writeUInt32LE(8000, 40);
  writeFileSync(file("song.wav"), Buffer.concat([header, Buffer.alloc(8000, 128)]));
  await page.setInputFiles("#media-file", file("song.wav"));
  await assertProblem(page, /^song\.wav: has sound only; choose a video or an image\.$/);
  assert.equal(await page.isDisabled("#stop"), true);
});

test("nothing of the image before shows through a transparent one", async (t) => {
  const { page } = await opened(t);
  assertSamePose(await look(page, file("face.png")), "face.png");
  assert.deepEqual(await look(page, file("clear.png")), { pitch: null, yaw: null, roll: null });
});

test("where there is no WebGPU, a line says so, and all of the processor is used", async (t) => {
  const { page } = await opened(t);
  assert.match(await page.textContent("#backend"), /no WebGPU.*; networks run on the processor, by WebAssembly with \d threads/);
  assert.equal(await page.evaluate(() => crossOriginIsolated), true);
});

test("everything can be reached by keyboard and has a name", async (t) => {
  const { page } = await opened(t, { permissions: ["camera"] });
  const reached = [];
  for (let count = 0; count < 20; count++) {
    await page.keyboard.press("Tab");
    const id = await page.evaluate(() => document.activeElement.id);
    if (!id || reached.includes(id)) break;
    reached.push(id);
  }
  assert.deepEqual(reached, ["camera", "open", "axes", "box", "landmarks", "heads", "filter", "fov", "choose"]); // those that aren't disabled
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
});

test("the page fits phones and desktops", async (t) => {
  for (const [width, height] of [[375, 812], [1440, 900]]) {
    for (const colorScheme of ["light", "dark"]) {
      const { page } = await opened(t, { viewport: { width, height }, colorScheme });
      await look(page, file("face.png"));
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
      if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `${width}-${colorScheme}.png`), fullPage: true });
    }
  }
});

test("on WebGPU, an image has the same pose", async (t) => {
  const imitated = await launch({ args: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"] });
  t.after(() => imitated.close());
  const { page, faults } = await opened(t, {}, server.url, imitated);
  assert.match(await page.textContent("#backend"), /^WebGPU is only imitated on this machine; networks run on the processor/);
  const forced = await opened(t, {}, `${server.url}?gpu=on`, imitated);
  assert.match(await forced.page.textContent("#pose-model"), /, on WebGPU$/);
  assertSamePose(await look(forced.page, file("face.png")), "face.png");
  assert.deepEqual([...faults, ...forced.faults], []);
});
