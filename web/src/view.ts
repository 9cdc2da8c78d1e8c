/** What the tracker sees of a frame; trackertraincode/tracking/view.py.
 *
 *   frame --lookAt--> View: grey levels of the part that is seen, and its camera --poseIn a box--> HeadPose
 */

import * as client from "./client.ts";
import type { Plane } from "./pixels.ts";
import type { Camera, HeadPose } from "./pose.ts";

const MIN_FACE_SIDE = 16; // pixels of the image that the localizer looks at; smaller boxes are not accepted
const f32 = Math.fround;

/** What a pose network says of one crop, in [-1, 1] of it. */
export interface PoseAnswer {
  readonly rotation: Float32Array; // (4) i, j, k, w
  readonly head: Float32Array; // (3) x, y, size
  readonly faceBox: Float32Array; // (4) x0, y0, x1, y1
  readonly landmarks?: Float32Array; // (68 · 3)
  readonly rotationTril?: Float32Array; // (3 · 3) lower triangular factor of the covariance, radians
  readonly headTril?: Float32Array; // (3 · 3) lower triangular factor of the covariance of `head`
}

export interface PoseNetwork {
  readonly size: number; // edge of its crops
  run(crop: Float32Array): Promise<PoseAnswer>;
}

export interface Localizer {
  readonly width: number;
  readonly height: number;
  run(image: Float32Array): Promise<Float32Array>; // (5) face logit, x0, y0, x1, y1 in [-1, 1]
}

/** The part of a frame that is seen. */
export interface View {
  readonly pyramid: client.Pyramid;
  readonly camera: Camera;
}

/** Of the part that is seen, pixels. */
export function sizeOf({ pyramid }: View): string {
  return `${pyramid.width} × ${pyramid.height}`;
}

/** What a localizer says of an image. */
export interface FoundFace {
  readonly score: number; // probability of a face
  readonly box: client.PixelBox;
  readonly isFace: boolean; // of any size
  readonly accepted: boolean; // whether a tracker starts from this box
}

/** What is looked at of a frame: the 4:3 middle, as by the plugin; images and portrait frames as a whole. */
export function partSeen(width: number, height: number, whole: boolean): client.PixelBox {
  return whole || height > width ? { x: 0, y: 0, width, height } : client.part43(width, height);
}

/** image: the part that is seen, which begins at x, y of its frame; diagonalFov: radians. */
export function lookAt(image: Plane, x: number, y: number, diagonalFov: number): View {
  return { pyramid: new client.Pyramid(image), camera: { x, y, width: image.width, height: image.height, diagonalFov } };
}

/** Whether a box has a size that heads have, and some of it is seen. */
export function isSeen({ pyramid }: View, box: client.PixelBox): boolean {
  const { width, height } = pyramid;
  return client.hasUsableSize(box, width, height) && client.touches(box, width, height);
}

/** In grey levels; scale: pixels of the view for one of these, of which the box is. */
export async function lookForFace(localizer: Localizer, grey: Plane, scale: number): Promise<FoundFace> {
  const filled = client.partFilled(grey, localizer.width, localizer.height);
  const answer = await localizer.run(client.localizerInput(grey, filled));
  const score = f32(1 / f32(1 + f32(Math.exp(-answer[0]))));
  const [across, down] = [grey.width / filled.inner[0], grey.height / filled.inner[1]];
  const inside = (value: number, length: number, margin: number) => f32(f32(f32(0.5 * f32(value + 1)) * f32(length)) - f32(margin));
  const inX = (value: number) => inside(value, localizer.width * across, filled.left * across);
  const inY = (value: number) => inside(value, localizer.height * down, filled.top * down);
  const opposite = (corner: number, other: number) => f32(corner + f32(other - corner)); // rounded as by the plugin
  const [x0, y0] = [inX(answer[1]), inY(answer[2])];
  const [x1, y1] = [inX(opposite(answer[1], answer[3])), inY(opposite(answer[2], answer[4]))];
  const box = { x: x0 * scale, y: y0 * scale, width: x1 * scale - x0 * scale, height: y1 * scale - y0 * scale };
  const isFace = score > 0.5;
  return { score, box, isFace, accepted: isFace && (f32(x1 - x0) >= MIN_FACE_SIDE || f32(y1 - y0) >= MIN_FACE_SIDE) };
}

/** The pose of the head in a box of the view; the box that the network predicts in the view. */
export async function poseIn(network: PoseNetwork, { pyramid, camera }: View, box: client.PixelBox): Promise<{ pose: HeadPose; box: client.PixelBox }> {
  const patch = client.extractPatch(pyramid, box, network.size);
  const answer = await network.run(client.networkInput(patch, network.size));
  const head = client.toFrame(patch, answer.head);
  const predicted = client.predictedBox(patch, answer.faceBox);
  const [i, j, k, w] = answer.rotation;
  const half = 0.5 * patch.edge;
  const corner = [patch.centerX + camera.x, patch.centerY + camera.y, 0];
  const pose: HeadPose = {
    rotation: [i, j, k, w],
    head: [f32(head[0] + camera.x), f32(head[1] + camera.y), head[2]],
    box: [
      f32(predicted.x + camera.x),
      f32(predicted.y + camera.y),
      f32(f32(predicted.x + predicted.width) + camera.x),
      f32(f32(predicted.y + predicted.height) + camera.y),
    ],
    camera,
    landmarks: answer.landmarks && Float64Array.from(answer.landmarks, (value, n) => f32(value * half) + corner[n % 3]),
    rotationTril: answer.rotationTril,
    headTril: answer.headTril?.map((value) => value * half),
  };
  return { pose, box: predicted };
}
