/** Runs the tracker beside the page: frames in, poses out; draws them on the page's canvas. */

import type * as Ort from "onnxruntime-web";
import { drawHeads } from "./draw.ts";
import { lineOf, UserError } from "./errors.ts";
import type { Heads } from "./calm.ts";
import { Follower, type Following } from "./following.ts";
import type { Call, Calls, Drawn, Reply, Request } from "./messages.ts";
import { OnnxLocalizer, OnnxPoseNetwork, openNetwork, type Provider } from "./networks.ts";
import { rgbPlane } from "./pixels.ts";
import { lookAt, partSeen, type View } from "./view.ts";

const MOST_THREADS = 4;
const PLACES: Record<Provider, string> = { webgpu: "WebGPU", wasm: "the processor" };

const reading = context(new OffscreenCanvas(1, 1), { willReadFrequently: true }); // pixels of a frame
let shown: OffscreenCanvasRenderingContext2D; // on the page
let ort: typeof Ort;
let provider: Provider | "faster" = "wasm";
let network: OnnxPoseNetwork | null = null;
let localizer: OnnxLocalizer | null = null;
let follower: Follower | null = null; // of the source that is seen
let last: { bitmap: ImageBitmap; heads: Heads; numbered: boolean } | null = null;

function context(canvas: OffscreenCanvas, settings?: CanvasRenderingContext2DSettings): OffscreenCanvasRenderingContext2D {
  const found = canvas.getContext("2d", settings);
  if (!found) throw new UserError("this browser can't draw on a canvas outside of the page; try a newer one.");
  return found;
}

/** A bitmap instead of what was there, which would show through transparent parts. */
function replaceBy(bitmap: ImageBitmap, on: OffscreenCanvasRenderingContext2D, x = 0, y = 0): void {
  on.globalCompositeOperation = "copy";
  on.drawImage(bitmap, x, y);
  on.globalCompositeOperation = "source-over";
}

const calls: { [C in Call]: (given: Calls[C]["given"]) => Promise<Calls[C]["answer"]> } = {
  async start({ canvas, gpu }) {
    shown = context(canvas);
    const missing = gpu === "off" ? "WebGPU is switched off" : await whyNoGpu(gpu === "on");
    provider = missing ? "wasm" : gpu === "on" ? "webgpu" : "faster";
    const folder = new URL("./ort/", self.location.href).href;
    ort = await import(`${folder}${missing ? "ort.wasm.min.mjs" : "ort.webgpu.min.mjs"}`);
    ort.env.wasm.wasmPaths = folder;
    ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
    ort.env.logLevel = "error";
    return { backend: missing ? `${missing}; networks run on the processor, ${threads()}` : "There is WebGPU" };
  },

  async load({ name, bytes }) {
    const opened = await openNetwork(ort, name, bytes, provider);
    if (opened.kind === "pose") {
      await network?.release();
      network = opened.network;
    } else {
      await localizer?.release();
      localizer = opened.network;
    }
    follower = null;
    return { kind: opened.kind, line: describe(opened.network) + (provider === "wasm" ? "" : `, on ${PLACES[opened.provider]}`) };
  },

  async frame({ bitmap, seconds, diagonalFov, how, drawn }) {
    last?.bitmap.close();
    last = { bitmap, heads: [], numbered: how.heads > 1 };
    try {
      last.heads = await followerOf(how, seconds === null).next(viewOf(bitmap, seconds === null, diagonalFov), seconds);
      return { heads: last.heads };
    } finally {
      show(drawn);
    }
  },

  async reset() {
    follower = null;
    return {};
  },

  async redraw({ drawn }) {
    show(drawn);
    return {};
  },
};

/** Who has followed heads so far, as long as that is how they are to be followed. */
function followerOf(how: Following, anew: boolean): Follower {
  if (!network || !localizer) throw new UserError(`There is no ${network ? "localizer" : "pose network"}; drop its .onnx file onto the page.`);
  const same = follower && follower.how.filter === how.filter && follower.how.heads === how.heads;
  if (!follower || !same || anew) follower = new Follower(network, localizer, how);
  return follower;
}

function viewOf(bitmap: ImageBitmap, whole: boolean, diagonalFov: number): View {
  const part = partSeen(bitmap.width, bitmap.height, whole);
  return lookAt(pixelsOf(bitmap, part), part.x, part.y, diagonalFov);
}

/** Why there is no WebGPU, empty where there is. software: whether one that the processor imitates is one. */
async function whyNoGpu(software: boolean): Promise<string> {
  if (!navigator.gpu) return "This browser has no WebGPU";
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  if (!adapter) return "There is no WebGPU on this machine";
  return adapter.info.isFallbackAdapter && !software ? "WebGPU is only imitated on this machine" : "";
}

function threads(): string {
  const count = ort.env.wasm.numThreads ?? 1;
  return `by WebAssembly with ${count === 1 ? "one thread" : `${count} threads`}`;
}

function describe(opened: OnnxPoseNetwork | OnnxLocalizer): string {
  if (opened instanceof OnnxLocalizer) return opened.name;
  const { landmarks, deviations } = opened.has;
  const lacks = [landmarks ? "" : "landmarks", deviations ? "" : "uncertainty"].filter(Boolean);
  return `${opened.name} (${opened.size} px${lacks.length ? `, without ${lacks.join(" and ")}` : ""})`;
}

function pixelsOf(bitmap: ImageBitmap, part: { x: number; y: number; width: number; height: number }) {
  const { canvas } = reading;
  if (canvas.width !== part.width || canvas.height !== part.height) {
    canvas.width = part.width;
    canvas.height = part.height;
  }
  replaceBy(bitmap, reading, -part.x, -part.y);
  return rgbPlane(reading.getImageData(0, 0, part.width, part.height).data, part.width, part.height);
}

function show(drawn: Drawn): void {
  if (!last) return;
  const { canvas } = shown;
  const { bitmap, heads, numbered } = last;
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  replaceBy(bitmap, shown);
  drawHeads(shown, heads, drawn, numbered);
}

/** One call after the other. */
let queue = Promise.resolve();
self.onmessage = ({ data }: MessageEvent<Request>) => {
  queue = queue.then(async () => {
    let reply: Reply;
    try {
      reply = { id: data.id, answer: await calls[data.call](data.given as never) };
    } catch (error) {
      reply = { id: data.id, problem: lineOf(error) };
    }
    self.postMessage(reply);
  });
};
