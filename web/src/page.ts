/** The page: sources, numbers, recorder and networks around the worker that tracks. */

import { lineOf, UserError } from "./errors.ts";
import { DEFAULT, FILTERS, type FilterName } from "./filters.ts";
import type { Heads } from "./calm.ts";
import { type Following, MOST_HEADS } from "./following.ts";
import type { Call, Calls, Drawn, Reply } from "./messages.ts";
import { openness } from "./openness.ts";
import { degreesOf, deviationsOf, positionOf } from "./pose.ts";
import { Recorder } from "./recorder.ts";
import { halt, nextFrame, openCamera, openImage, play, release } from "./source.ts";
import { Timing } from "./timing.ts";

const LARGE = 1920 * 1200; // pixels; beyond, a line says that frames take longer
const NUMBERS_EVERY_MS = 100; // numbers that change faster can't be read

function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found as T;
}

const video = element<HTMLVideoElement>("video");
const heads = element<HTMLInputElement>("heads");
const filter = element<HTMLSelectElement>("filter");
const fov = element<HTMLInputElement>("fov");
const device = element<HTMLSelectElement>("device");
const recorder = new Recorder();
let timing = new Timing();
let diagonalFov = 0; // radians
let how: Following = { filter: "none", heads: 1 };
let running = 0; // counts sources; a loop whose number is old ends
let numbersShown = 0;

/** The worker's side of a call. */
const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map<number, { resolve: (answer: never) => void; reject: (error: UserError) => void }>();
let calls = 0;
worker.onmessage = ({ data }: MessageEvent<Reply>) => {
  const caller = waiting.get(data.id);
  waiting.delete(data.id);
  if ("problem" in data) caller?.reject(new UserError(data.problem));
  else caller?.resolve(data.answer as never);
};
worker.onerror = () => say("problem", "The part of the page that computes can't be loaded; reload the page.");

function ask<C extends Call>(call: C, given: Calls[C]["given"], ...moved: Transferable[]): Promise<Calls[C]["answer"]> {
  const id = ++calls;
  worker.postMessage({ id, call, given }, moved);
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

/** Show one line, or none. */
function say(where: "problem" | "note" | "backend", line: string): void {
  const place = element(where);
  place.textContent = line;
  place.hidden = !line;
}

/** Do what a user asked for; what goes wrong is a line. */
function attempt(action: () => Promise<void>): void {
  say("problem", "");
  action().catch((error) => say("problem", lineOf(error)));
}

function drawn(): Drawn {
  const checked = (id: string) => element<HTMLInputElement>(id).checked;
  return { axes: checked("axes"), box: checked("box"), landmarks: checked("landmarks") };
}

/** Take what the fields say, as far as it can be. */
async function takeSettings(): Promise<void> {
  const [degrees, count] = [fov.valueAsNumber, heads.valueAsNumber];
  if (!(degrees > 0 && degrees < 180)) throw new UserError("A field of view is more than 0 and less than 180 degrees.");
  if (!(Number.isInteger(count) && count >= 1 && count <= MOST_HEADS)) throw new UserError(`Heads are a whole number from 1 to ${MOST_HEADS}.`);
  diagonalFov = (degrees * Math.PI) / 180;
  how = { filter: filter.value as FilterName, heads: count };
}

// Sources

/** own: number of the source; seconds: since the first frame, null for an image; start: when the frame was there, `performance.now()`. */
async function track(own: number, bitmap: ImageBitmap, frame: number, seconds: number | null, start: number): Promise<void> {
  if (own !== running) return bitmap.close();
  const given = { bitmap, seconds, diagonalFov, how, drawn: drawn() };
  const { heads } = await ask("frame", given, bitmap);
  if (own !== running) return;
  const end = performance.now();
  timing.add(end, end - start);
  recorder.add(frame, seconds ?? 0, heads, end - start);
  if (seconds === null || end - numbersShown > NUMBERS_EVERY_MS) {
    numbersShown = end;
    showPose(heads);
  }
}

/** End what is running. Gives the number of what comes next. */
function stop(): number {
  halt(video);
  timing = new Timing();
  element<HTMLButtonElement>("stop").disabled = element<HTMLButtonElement>("record").disabled = true;
  if (recorder.recording) toggleRecording();
  return ++running;
}

/** own: number of this source, of which nothing is seen when another one was begun meanwhile. */
async function follow(source: MediaStream | File, own = stop()): Promise<void> {
  try {
    await play(video, source);
  } catch (error) {
    if (own !== running) return;
    halt(video);
    throw error;
  }
  if (own !== running) return;
  begin(video.videoWidth, video.videoHeight, source instanceof File ? source.name : "Camera");
  element<HTMLButtonElement>("stop").disabled = element<HTMLButtonElement>("record").disabled = false;
  video.onended = () => stop();
  video.onerror = () => {
    const seconds = video.currentTime.toFixed(1);
    stop();
    say("problem", `${source instanceof File ? source.name : "The camera"}: can't be read beyond ${seconds} s; it is cut off or damaged.`);
  };
  await ask("reset", {});
  const first = performance.now();
  try {
    for (let frame = 0; ; frame++) {
      const media = await nextFrame(video);
      const start = performance.now();
      if (own !== running) return;
      await track(own, await createImageBitmap(video), frame, source instanceof File ? media : (start - first) / 1000, start);
    }
  } catch (error) {
    if (own === running) stop();
    throw error;
  }
}

async function lookAt(file: File): Promise<void> {
  const own = stop();
  const start = performance.now();
  const bitmap = await openImage(file);
  if (own === running) begin(bitmap.width, bitmap.height, file.name);
  await track(own, bitmap, 0, null, start);
}

function begin(width: number, height: number, name: string): void {
  element("hint").hidden = true;
  const size = `${width} × ${height} pixels`;
  say("note", width * height > LARGE ? `${name}: ${size}, looked at in full; smaller frames are faster, the answer is nearly the same.` : "");
}

async function startCamera(): Promise<void> {
  const own = stop();
  const stream = await openCamera(device.value);
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((found) => found.kind === "videoinput");
  if (own !== running) return release(stream);
  const used = stream.getVideoTracks()[0].getSettings().deviceId;
  device.replaceChildren(...cameras.map((found, n) => new Option(found.label || `Camera ${n + 1}`, found.deviceId, false, found.deviceId === used)));
  element("device-label").hidden = cameras.length < 2;
  stream.getVideoTracks()[0].onended = () => {
    stop();
    say("problem", "The camera is gone; connect it and press Camera again.");
  };
  await follow(stream, own);
}

// Numbers

/** With a true minus sign. */
function number(value: number, digits: number): string {
  return value.toFixed(digits).replace("-", "−");
}

/** Of the first head. */
function showPose(heads: Heads): void {
  const put = (id: string, text: string) => (element(id).textContent = text);
  const [first, pose] = heads[0] ?? [0, null];
  const [degrees, deviations] = pose ? [degreesOf(pose), deviationsOf(pose)] : [];
  put("pose-title", how.heads > 1 && pose ? `Pose of head ${first}, one of ${heads.length}` : "Pose");
  ["pitch", "yaw", "roll"].forEach((row, n) => {
    put(row, degrees ? number(degrees[n], 1) : "–");
    put(`${row}-deviation`, deviations ? deviations[n].toFixed(1) : "–");
  });
  const [x, y, z] = pose ? positionOf(pose) : [0, 0, 0];
  put("position", pose ? [-z, y, -x].map((value) => number(value, 0)).join(", ") : "no face");
  const open = pose?.landmarks && openness(pose.landmarks, pose.rotation).map((share) => share.toFixed(2));
  put("eyes", open ? `${open[0]}, ${open[1]}` : "–");
  put("mouth", open ? open[2] : "–");
  put("fps", timing.fps ? timing.fps.toFixed(0) : "–");
  put("latency", timing.text);
  put("recorded", recorder.count ? `${recorder.count} rows` : "no rows");
}

// Recorder

function toggleRecording(): void {
  const button = element<HTMLButtonElement>("record");
  if (recorder.recording) recorder.recording = false;
  else recorder.start();
  button.setAttribute("aria-pressed", String(recorder.recording));
  button.textContent = recorder.recording ? "Stop recording" : "Record";
  element<HTMLButtonElement>("save").disabled = recorder.recording || !recorder.count;
  element("recorded").textContent = recorder.count ? `${recorder.count} rows` : "no rows";
}

function saveRecording(): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(recorder.csv());
  link.download = "poses.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Networks and files

async function loadModel(name: string, bytes: ArrayBuffer): Promise<void> {
  const { kind, line } = await ask("load", { name, bytes: new Uint8Array(bytes) }, bytes);
  element(kind === "pose" ? "pose-model" : "localizer-model").textContent = line;
}

/** Networks that the server has. */
async function loadServed(): Promise<void> {
  const models: { name: string; path: string }[] = await (await fetch("models.json")).json();
  for (const { name, path } of models) await loadModel(name, await (await fetch(path)).arrayBuffer());
}

/** Networks first, then an image or a video. */
async function take(files: readonly File[]): Promise<void> {
  const isModel = (file: File) => file.name.toLowerCase().endsWith(".onnx");
  for (const file of files.filter(isModel)) await loadModel(file.name, await file.arrayBuffer());
  const media = files.find((file) => !isModel(file));
  if (media) await (media.type.startsWith("image/") ? lookAt(media) : follow(media));
}

function connect(): void {
  const click = (id: string, action: () => void) => element(id).addEventListener("click", action);
  document.addEventListener("visibilitychange", () => {
    if (!video.src) return; // a camera goes on
    if (document.hidden) video.pause(); // for no frame comes
    else attempt(() => video.play());
  });
  click("camera", () => attempt(startCamera));
  click("stop", () => stop());
  click("record", toggleRecording);
  click("save", saveRecording);
  filter.replaceChildren(...Object.keys(FILTERS).map((name) => new Option(name, name, name === DEFAULT, name === DEFAULT)));
  for (const field of [fov, heads, filter]) field.addEventListener("change", () => attempt(takeSettings));
  attempt(takeSettings); // browsers may keep what was typed
  device.addEventListener("change", () => attempt(startCamera));
  for (const [button, input] of [["open", "media-file"], ["choose", "model-file"]]) {
    const chooser = element<HTMLInputElement>(input);
    click(button, () => chooser.click());
    chooser.addEventListener("change", () => {
      const files = [...(chooser.files ?? [])];
      chooser.value = ""; // so that the same file can be chosen again
      attempt(() => take(files));
    });
  }
  for (const id of ["axes", "box", "landmarks"]) element(id).addEventListener("change", () => attempt(async () => void (await ask("redraw", { drawn: drawn() }))));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) attempt(() => take(files));
  });
}

connect();
attempt(async () => {
  const canvas = element<HTMLCanvasElement>("canvas").transferControlToOffscreen();
  const asked = new URLSearchParams(location.search).get("gpu");
  const gpu = asked === "on" || asked === "off" ? asked : "auto";
  say("backend", (await ask("start", { canvas, gpu }, canvas)).backend);
  await loadServed();
  document.body.dataset.ready = "true";
});
