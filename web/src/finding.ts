/** All faces of an image, by a localizer that knows but one at a time; trackertraincode/tracking/finding.py. */

import * as client from "./client.ts";
import { type Plane, roundEven } from "./pixels.ts";
import { deviations, deviationsOf, type HeadPose } from "./pose.ts";
import { isSeen, type Localizer, lookForFace, poseIn, type PoseNetwork, type View } from "./view.ts";

const SAME_FACE = 0.5; // share of the smaller box
const STAYS = 0.5; // intersection over union of the boxes that the pose network sees one after the other
const MOST_UNSURE = 0.5; // of the deviation that the pose network predicts for nothing
const NEAR = 2.5; // edges of a box that the last look takes in
const PARTS = [[1, 1], [0.5, 1], [0.5, 0.5]]; // shares of width and height that windows have; neighbours overlap by half
const NOTHING = [-0.5, 0, 0.5]; // grey levels of crops that show nothing

interface Window {
  readonly x0: number;
  readonly y0: number;
  readonly x1: number;
  readonly y1: number;
}

/** The parts of an image that are looked at, one after the other. */
export function* windows(width: number, height: number): Generator<Window> {
  const starts = (share: number) => (share < 1 ? [0, share / 2, share] : [0]);
  for (const [wide, high] of PARTS) {
    for (const y of starts(high)) {
      for (const x of starts(wide)) {
        const [x1, y1] = [Math.trunc((x + wide) * width), Math.trunc((y + high) * height)];
        yield { x0: Math.trunc(x * width), y0: Math.trunc(y * height), x1, y1 };
      }
    }
  }
}

/** Boxes in the view's pixels, the surest first, but for the known ones, which are painted over. */
export async function findFaces(
  localizer: Localizer,
  network: PoseNetwork,
  view: View,
  known: readonly client.PixelBox[],
): Promise<client.PixelBox[]> {
  const level = view.pyramid.depth - 1;
  const scale = 2 ** level;
  const image = painted(view.pyramid.grey(level), known, scale);
  const candidates: { score: number; box: client.PixelBox }[] = [];
  for (const window of windows(image.width, image.height)) {
    const found = await look(localizer, image, window);
    if (found) candidates.push(found);
  }
  const distinct = [...known];
  for (const { box: small } of candidates.sort((a, b) => b.score - a.score || b.box.x - a.box.x || b.box.y - a.box.y)) {
    const start = { x: small.x * scale, y: small.y * scale, width: small.width * scale, height: small.height * scale };
    const box = await settled(network, view, start);
    if (!box || distinct.some((other) => shared(box, other) > SAME_FACE)) continue;
    if (await looksLikeFace(localizer, view, box)) distinct.push(box);
  }
  return distinct.slice(known.length);
}

/** Where to begin with the box of a whole view, which may lie between two faces: there, where the network is sure and stays;
 *  else at one of all faces that are found: the tracked one, if it is among them, or the surest. */
export async function startOf(
  localizer: Localizer,
  network: PoseNetwork,
  view: View,
  box: client.PixelBox,
  tracked: client.PixelBox | null,
): Promise<client.PixelBox> {
  const seen = await poseIn(network, view, box);
  if ((await isSure(network, seen.pose)) && client.overlap(box, seen.box) > STAYS) return box;
  const faces = await findFaces(localizer, network, view, []);
  if (tracked) faces.sort((a, b) => client.overlap(b, tracked) - client.overlap(a, tracked));
  return faces[0] ?? box;
}

/** A copy whose known faces have the mean grey level. */
function painted(image: Plane, known: readonly client.PixelBox[], scale: number): Plane {
  const { width, height } = image;
  const data = image.data.slice();
  for (const { x, y, width: wide, height: high } of known) {
    const [x0, y0, x1, y1] = [x, y, x + wide, y + high].map((value) => Math.max(0, roundEven(value / scale)));
    const mean = Math.trunc(data.reduce((sum, value) => sum + value, 0) / data.length);
    for (let row = y0; row < Math.min(y1, height); row++) {
      if (x0 < x1) data.fill(mean, row * width + Math.min(x0, width), row * width + Math.min(x1, width));
    }
  }
  return { width, height, channels: 1, data };
}

/** Whether the localizer sees a face where a box of the view is. */
export async function looksLikeFace(localizer: Localizer, { pyramid }: View, box: client.PixelBox): Promise<boolean> {
  const level = pyramid.depth - 1;
  const image = pyramid.grey(level);
  const [x, y, width, height] = [box.x, box.y, box.width, box.height].map((value) => value / 2 ** level);
  const nearby = { x, y, width, height };
  const found = await look(localizer, image, around(nearby, image.width, image.height));
  return found !== null && shared(found.box, nearby) > SAME_FACE;
}

/** Where the pose network sees the face of a box; null where it doesn't stay there, or is unsure. */
async function settled(network: PoseNetwork, view: View, start: client.PixelBox): Promise<client.PixelBox | null> {
  let [before, box] = [start, start];
  let sure = false;
  for (let turn = 0; turn < 3; turn++) {
    const seen = await poseIn(network, view, box);
    [before, box] = [box, seen.box];
    sure = await isSure(network, seen.pose);
    if (!isSeen(view, box)) return null;
  }
  return sure && client.overlap(before, box) > STAYS ? box : null;
}

/** Whether a network predicts less deviation than where there is no face; always, if it predicts none at all. */
export async function isSure(network: PoseNetwork, pose: HeadPose): Promise<boolean> {
  const [spread, nothing] = [deviationsOf(pose), await deviationOfNothing(network)];
  return !spread || nothing === null || mean(spread) <= MOST_UNSURE * nothing;
}

const nothings = new WeakMap<PoseNetwork, number | null>();

/** Mean predicted deviation of the rotation in crops that show nothing, degrees: how unsure this network can be. */
async function deviationOfNothing(network: PoseNetwork): Promise<number | null> {
  let known = nothings.get(network);
  if (known === undefined) {
    const means: number[] = [];
    for (const level of NOTHING) {
      const { rotationTril } = await network.run(new Float32Array(network.size ** 2).fill(level));
      if (rotationTril) means.push(mean(deviations(rotationTril)));
    }
    known = means.length ? mean(means) : null;
    nothings.set(network, known);
  }
  return known;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** What two boxes have in common, as a share of the smaller one. */
function shared(one: client.PixelBox, other: client.PixelBox): number {
  const common = client.overlap(one, other); // i / (a + b - i)
  const [a, b] = [one.width * one.height, other.width * other.height];
  return (common * (a + b)) / (1 + common) / Math.max(Math.min(a, b), 1e-9);
}

/** Score and box, in pixels of the image, of the face in a window; null where there is none. */
async function look(localizer: Localizer, image: Plane, { x0, y0, x1, y1 }: Window): Promise<{ score: number; box: client.PixelBox } | null> {
  const [width, height] = [x1 - x0, y1 - y0];
  if (Math.min(width, height) < 2) return null;
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const start = (y0 + y) * image.width + x0;
    data.set(image.data.subarray(start, start + width), y * width);
  }
  const { score, box, accepted } = await lookForFace(localizer, { width, height, channels: 1, data }, 1);
  if (!accepted || !client.hasUsableSize(box, width, height)) return null;
  return { score, box: { ...box, x: box.x + x0, y: box.y + y0 } };
}

/** A window of 4:3 about a box, as far as there is an image. */
function around(box: client.PixelBox, width: number, height: number): Window {
  const half = (NEAR / 2) * Math.max(box.width, box.height);
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const across = (half * 4) / 3;
  const [x0, y0] = [Math.max(0, Math.trunc(x - across)), Math.max(0, Math.trunc(y - half))];
  return { x0, y0, x1: Math.min(width, Math.trunc(x + across)), y1: Math.min(height, Math.trunc(y + half)) };
}
