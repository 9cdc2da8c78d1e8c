/** HeadPoseTracker: give it frames, get head poses; trackertraincode/tracking/tracker.py.
 *
 *   const tracker = new HeadPoseTracker(network, localizer);
 *   const pose = await tracker.update(frame);   // null: no face
 */

import * as client from "./client.ts";
import type { Plane } from "./pixels.ts";

const LOST_IOU = 0.25; // overlap of localizer and tracked box under which the localizer looks, and its box is taken
const LOST_SCORE = 0.1; // localizer score under which a tracked head counts as gone; profiles score low but above
const LOOK_EVERY = 15; // frames between looks whether the head is still there, as `ttc track` does
const MIN_FACE_SIDE = 16; // pixels of the image that the localizer looks at; smaller boxes are not accepted
const f32 = Math.fround;
const DEGREES = f32(180 / f32(Math.PI));

/** What a pose network says of one crop, in [-1, 1] of it. */
export interface PoseAnswer {
  readonly rotation: Float32Array; // (4) i, j, k, w
  readonly head: Float32Array; // (3) x, y, size
  readonly faceBox: Float32Array; // (4) x0, y0, x1, y1
  readonly landmarks?: Float32Array; // (68 · 3)
  readonly rotationTril?: Float32Array; // (3 · 3) lower triangular factor of the covariance, radians
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

/** One head in one frame; pixels count from the frame's corner. */
export interface HeadPose {
  readonly rotation: client.Quaternion; // relative to the viewing ray, image axes
  readonly degrees: client.Triple; // pitch, yaw, roll
  readonly head: client.Triple; // x, y, radius
  readonly box: client.Quaternion; // x0, y0, x1, y1
  readonly positionMm: client.Triple; // relative to the camera, OpenTrack's axes
  readonly landmarks?: Float64Array; // (68 · 3)
  readonly deviations?: client.Triple; // of pitch, yaw, roll as far as the model tells, degrees
}

/** A part of a frame as it is looked at. */
export interface View {
  readonly image: Plane;
  readonly x: number; // where it begins in the frame
  readonly y: number;
}

/** What is looked at of a frame: the 4:3 middle, as by the plugin; images and portrait frames as a whole. */
export function partSeen(width: number, height: number, whole: boolean): client.PixelBox {
  return whole || height > width ? { x: 0, y: 0, width, height } : client.part43(width, height);
}

export class HeadPoseTracker {
  private box: client.PixelBox | null = null; // where to look, in the part of the frame that is seen
  private found: client.PixelBox | null = null; // where the localizer saw this head
  private frames = 0;

  constructor(
    private readonly network: PoseNetwork,
    private readonly localizer: Localizer,
  ) {}

  /** Forget the tracked head. */
  reset(): void {
    this.box = this.found = null;
    this.frames = 0;
  }

  /** The head's pose in this frame, null where there is no face. diagonalFov: radians. */
  async update(view: View, diagonalFov: number): Promise<HeadPose | null> {
    const pyramid = new client.Pyramid(view.image);
    const leftPlace = !this.box || !this.found || client.overlap(this.found, this.box) < LOST_IOU;
    if (leftPlace || this.frames % LOOK_EVERY === 0) await this.localize(pyramid);
    this.frames++;
    if (!this.box) return null;
    const patch = client.extractPatch(pyramid, this.box, this.network.size);
    const answer = await this.network.run(client.networkInput(patch, this.network.size));
    const next = client.nextBox(this.box, client.predictedBox(patch, answer.faceBox));
    const usable = client.hasUsableSize(next, pyramid.width, pyramid.height);
    this.box = usable && client.touches(next, pyramid.width, pyramid.height) ? next : null;
    return describe(view, patch, answer, diagonalFov);
  }

  /** Look for the face in the coarsest level, as the plugin does. */
  private async localize(pyramid: client.Pyramid): Promise<void> {
    const level = pyramid.depth - 1;
    const grey = pyramid.grey(level);
    const { width, height } = this.localizer;
    const answer = await this.localizer.run(client.localizerInput(grey, width, height));
    const score = f32(1 / f32(1 + f32(Math.exp(-answer[0]))));
    const inGrey = (value: number, length: number) => f32(f32(0.5 * f32(value + 1)) * length);
    const opposite = (corner: number, other: number) => f32(corner + f32(other - corner)); // rounded as by the plugin
    const [x0, y0] = [inGrey(answer[1], grey.width), inGrey(answer[2], grey.height)];
    const x1 = inGrey(opposite(answer[1], answer[3]), grey.width);
    const y1 = inGrey(opposite(answer[2], answer[4]), grey.height);
    const scale = 2 ** level;
    const box = { x: x0 * scale, y: y0 * scale, width: x1 * scale - x0 * scale, height: y1 * scale - y0 * scale };
    const isFace = score > 0.5;
    const accepted = isFace && (f32(x1 - x0) >= MIN_FACE_SIDE || f32(y1 - y0) >= MIN_FACE_SIDE);
    if (isFace && this.box && client.overlap(box, this.box) >= LOST_IOU) {
      this.found = box;
    } else if (accepted && client.hasUsableSize(box, pyramid.width, pyramid.height)) {
      this.found = this.box = box;
    } else {
      this.found = null;
      if (score < LOST_SCORE) this.box = null;
    }
  }
}

/** A network's answer in pixels of the frame, degrees and millimetres. */
function describe(view: View, patch: client.Patch, answer: PoseAnswer, diagonalFov: number): HeadPose {
  const head = client.toFrame(patch, answer.head);
  const box = client.predictedBox(patch, answer.faceBox);
  const [i, j, k, w] = answer.rotation;
  return {
    rotation: [i, j, k, w],
    degrees: client.aflwDegrees(answer.rotation),
    head: [f32(head[0] + view.x), f32(head[1] + view.y), head[2]],
    box: [
      f32(box.x + view.x),
      f32(box.y + view.y),
      f32(f32(box.x + box.width) + view.x),
      f32(f32(box.y + box.height) + view.y),
    ],
    positionMm: client.worldPosition(head, view.image.width, view.image.height, diagonalFov),
    landmarks: answer.landmarks && landmarksInFrame(view, patch, answer.landmarks),
    deviations: answer.rotationTril && deviations(answer.rotationTril),
  };
}

function landmarksInFrame(view: View, patch: client.Patch, landmarks: Float32Array): Float64Array {
  const offset = [patch.centerX + view.x, patch.centerY + view.y, 0];
  return Float64Array.from(landmarks, (value, index) => f32(value * (0.5 * patch.edge)) + offset[index % 3]);
}

/** Degrees about the image's axes. tril: (3 · 3), radians. */
function deviations(tril: Float32Array): client.Triple {
  const of = (row: number) => {
    const [a, b, c] = tril.subarray(3 * row, 3 * row + 3).map((value) => value * value);
    return f32(f32(Math.sqrt(f32(f32(a + b) + c))) * DEGREES);
  };
  return [of(0), of(1), of(2)];
}
