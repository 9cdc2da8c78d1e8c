/** What OpenTrack's NeuralNet tracker does around its pose network: trackertraincode/tracking/opentrack_client.py.
 *
 *   frame --part43--> view --Pyramid--> grey levels --extractPatch--> square --networkInput--> network
 *   outputs --toFrame--> pixels of the view --nextBox--> where to look in the next frame
 *
 * Boxes are float32, as there: each step is rounded by Math.fround where Python's arrays round.
 */

import { cutSquare, halve, type Plane, resizeArea, roundEven, toGrey, withMargins } from "./pixels.ts";
import type { Triple } from "./rotation.ts";

const PYRAMID_WIDTH = 640; // levels are added while the last one is at least this wide
const PYRAMID_DEPTH = 4; // levels at most
const LARGEST_BOX = 4; // longer sides of the frame; what is larger has nothing to do with a face
const NEARLY = 2; // pixels of margins that make no difference: frames are 4:3 but for a pixel
const QUANTILE = 0.9;
const DARK_QUANTILE = 127; // grey level under which the plugin brightens
const HEAD_DIAMETER_MM = 200;
const SMALLEST_HEAD = 1e-3; // pixels; stands for heads without a size, whose distance would be infinite
const BYTE = Math.fround(1 / 255);
const f32 = Math.fround;

/** A box in pixels, not rounded before a patch is cut. */
export interface PixelBox {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** The square that the network sees, and where it lies in the frame it was cut from, in pixels of that. */
export interface Patch {
  readonly image: Plane;
  readonly centerX: number;
  readonly centerY: number;
  readonly edge: number;
}

/** The largest 4:3 part about the middle of a frame, in whole pixels. */
export function part43(width: number, height: number): PixelBox {
  const [wide, high] =
    3 * width > 4 * height ? [Math.floor((4 * height) / 3), height] : [width, Math.floor((3 * width) / 4)];
  const [x, y] = [Math.floor((width - wide) / 2), Math.floor((height - high) / 2)];
  return { x, y, width: Math.max(1, wide), height: Math.max(1, high) };
}

/** A frame, its half, its quarter and so on; each level is made when it is asked for. */
export class Pyramid {
  readonly depth: number;
  private readonly colours: Plane[];
  private readonly greys: Plane[] = [];

  constructor(frame: Plane) {
    this.colours = [frame];
    let depth = 1;
    for (let width = frame.width; width >= PYRAMID_WIDTH && depth < PYRAMID_DEPTH; depth++) width = (width + 1) >> 1;
    this.depth = depth;
  }

  get width(): number {
    return this.colours[0].width;
  }

  get height(): number {
    return this.colours[0].height;
  }

  /** Grey levels of a level; colours are halved before they become grey. */
  grey(level: number): Plane {
    for (let known = this.colours.length; known <= level; known++) this.colours.push(halve(this.colours[known - 1]));
    return (this.greys[level] ??= toGrey(this.colours[level]));
  }
}

/** Which level of a pyramid serves a box this wide at full size. */
export function pyramidLevel(boxWidth: number, inputWidth: number, depth: number): number {
  if (boxWidth <= 0) return 0;
  return Math.min(Math.max(Math.floor(Math.log2(boxWidth / inputWidth)), 0), depth - 1);
}

/** Whether a box is finite, of positive size, and at most four times as long as a frame. */
export function hasUsableSize(box: PixelBox, width: number, height: number): boolean {
  const finite = [box.x, box.y, box.width, box.height].every(Number.isFinite);
  const [shorter, longer] = [Math.min(box.width, box.height), Math.max(box.width, box.height)];
  return finite && shorter > 0 && longer <= LARGEST_BOX * Math.max(width, height);
}

/** Whether some of a box lies inside a frame. */
export function touches(box: PixelBox, width: number, height: number): boolean {
  return box.x < width && box.y < height && box.x + box.width > 0 && box.y + box.height > 0;
}

/** Cut the square around a box of the full frame; its centre is clamped to the frame, edges are repeated. */
export function extractPatch(pyramid: Pyramid, box: PixelBox, inputWidth: number): Patch {
  const level = pyramidLevel(box.width, inputWidth, pyramid.depth);
  const scale = 2 ** level;
  const frame = pyramid.grey(level);
  const [x, y, wide, high] = [box.x, box.y, box.width, box.height].map((value) => roundEven(value / scale));
  const edge = Math.max(wide, high, 1);
  const centerX = Math.min(Math.max(x + 0.5 * wide, 0), frame.width);
  const centerY = Math.min(Math.max(y + 0.5 * high, 0), frame.height);
  const image = cutSquare(frame, edge, centerX, centerY);
  return { image, centerX: centerX * scale, centerY: centerY * scale, edge: edge * scale };
}

/** The first grey level whose cumulative count exceeds the whole part of 0.9 · n. */
export function intensityQuantile(image: Plane): number {
  const counts = new Uint32Array(256);
  for (let i = 0; i < image.data.length; i++) counts[image.data[i]]++;
  const limit = Math.trunc(QUANTILE * image.data.length);
  let sum = 0;
  for (let level = 0; level < 256; level++) {
    sum += counts[level];
    if (sum > limit) return level;
  }
  return 0;
}

/** pixel · alpha - 0.5, rounded once to float32. */
function scaleGrey(image: Plane, alpha: number): Float32Array {
  const table = Float32Array.from({ length: 256 }, (_, level) => level * alpha - 0.5);
  const values = new Float32Array(image.data.length); // a loop: `from` is far slower
  for (let i = 0; i < values.length; i++) values[i] = table[image.data[i]];
  return values;
}

/** (size · size) float32, about [-0.5, 0.5], ready for the pose network; dark squares are brightened. */
export function networkInput(patch: Patch, size: number): Float32Array {
  const resized = resizeArea(patch.image, size, size);
  const level = intensityQuantile(resized);
  const dark = f32(f32(0.5 * QUANTILE) / Math.max(5, level));
  return scaleGrey(resized, level < DARK_QUANTILE ? dark : BYTE);
}

/** (width · height) float32, ready for a localizer of that input size. */
export function localizerInput(level: Plane, { inner, left, top, width, height }: Filled): Float32Array {
  return scaleGrey(withMargins(resizeArea(level, inner[0], inner[1]), left, top, width, height), BYTE);
}

/** The part of what a localizer looks at, width × height, that an image fills; the rest is margins. */
export interface Filled {
  readonly inner: readonly [number, number]; // width and height of the part
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** Of an image of any shape, which isn't stretched; one of 4:3 fills all. */
export function partFilled(level: Plane, width: number, height: number): Filled {
  const aspect = (3 * level.width) / (4 * level.height);
  const filled = (size: number, share: number) => {
    const part = Math.floor(size * Math.min(1, share) + 0.5);
    return part >= size - NEARLY ? size : Math.max(1, part);
  };
  const inner = [filled(width, aspect), filled(height, 1 / aspect)] as const;
  return { inner, left: (width - inner[0]) >> 1, top: (height - inner[1]) >> 1, width, height };
}

/** The network's box x0, y0, x1, y1 in [-1, 1] of the patch -> pixels of the full frame. */
export function predictedBox(patch: Patch, box: ArrayLike<number>): PixelBox {
  const half = f32(0.5 * patch.edge);
  return {
    x: f32(f32(patch.centerX) + f32(half * box[0])),
    y: f32(f32(patch.centerY) + f32(half * box[1])),
    width: f32(half * f32(box[2] - box[0])),
    height: f32(half * f32(box[3] - box[1])),
  };
}

/** The network's x, y, size in [-1, 1] of the patch -> x, y, radius in pixels of the full frame. */
export function toFrame(patch: Patch, head: ArrayLike<number>): Triple {
  const half = f32(0.5 * patch.edge);
  return [f32(f32(patch.centerX) + f32(half * head[0])), f32(f32(patch.centerY) + f32(half * head[1])), f32(half * head[2])];
}

/** The box to look at in the next frame; the rounding is that of the plugin's filter, which is off. */
export function nextBox(last: PixelBox, predicted: PixelBox): PixelBox {
  const along = (corner: number, size: number, newCorner: number, newSize: number): [number, number] => {
    const middle = (c: number, s: number) => f32(0.5 * f32(c + f32(c + s)));
    const nextSize = f32(size + f32(newSize - size));
    const [old, now] = [middle(corner, size), middle(newCorner, newSize)];
    return [f32(f32(old + f32(now - old)) - f32(0.5 * nextSize)), nextSize];
  };
  const [x, width] = along(f32(last.x), f32(last.width), predicted.x, predicted.width);
  const [y, height] = along(f32(last.y), f32(last.height), predicted.y, predicted.height);
  return { x, y, width, height };
}

/** Intersection over union; 0 where both are empty. */
export function overlap(a: PixelBox, b: PixelBox): number {
  const common = (low1: number, size1: number, low2: number, size2: number) =>
    Math.max(f32(Math.min(f32(low1 + size1), f32(low2 + size2)) - Math.max(low1, low2)), 0);
  const [ax, ay, aw, ah] = [a.x, a.y, a.width, a.height].map(f32);
  const [bx, by, bw, bh] = [b.x, b.y, b.width, b.height].map(f32);
  const shared = f32(common(ax, aw, bx, bw) * common(ay, ah, by, bh));
  const union = f32(f32(f32(aw * ah) + f32(bw * bh)) - shared);
  return union > 0 ? f32(shared / union) : 0;
}

/** Millimetres relative to the camera: X negative in front of it, Y up, Z to the left of the image.
 *
 * head: x, y, radius in pixels of a frame of this size; diagonal: field of view, radians.
 */
export function worldPosition(head: Triple, width: number, height: number, diagonal: number): Triple {
  const aspect = width / height;
  const half = Math.tan(diagonal / 2);
  const [fovW, fovH] = [2 * Math.atan(half / Math.sqrt(1 + 1 / aspect ** 2)), 2 * Math.atan(half / Math.sqrt(1 + aspect ** 2))];
  const [focalW, focalH] = [1 / Math.tan(fovW / 2), 1 / Math.tan(fovH / 2)];
  const x = ((-focalW * (width / 2)) / (2 * Math.max(head[2], SMALLEST_HEAD))) * HEAD_DIAMETER_MM;
  return [x, (((2 * head[1]) / height - 1) * x) / focalH, (((2 * head[0]) / width - 1) * x) / focalW];
}
