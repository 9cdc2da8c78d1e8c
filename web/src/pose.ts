/** One head in one frame, and what follows from what the network says of it; trackertraincode/tracking/pose.py. */

import { worldPosition } from "./client.ts";
import { type Matrix, matrix } from "./matrix.ts";
import { aflwDegrees, conjugate, multiply, type Quaternion, type Triple, turned } from "./rotation.ts";

const f32 = Math.fround;
const DEGREES = f32(180 / f32(Math.PI));

/** How the pixels of the part of a frame that is looked at become millimetres. */
export interface Camera {
  readonly x: number; // where the part begins in the frame
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly diagonalFov: number; // radians
}

/** Pixels count from the frame's corner. What the network doesn't tell isn't there. */
export interface HeadPose {
  readonly rotation: Quaternion; // relative to the viewing ray, image axes
  readonly head: Triple; // x, y, radius
  readonly box: Quaternion; // x0, y0, x1, y1
  readonly camera: Camera;
  readonly landmarks?: Float64Array; // (68 · 3)
  readonly rotationTril?: Float32Array; // (3 · 3) factor of the covariance; radians about the image's axes
  readonly headTril?: Float32Array; // (3 · 3) factor of the covariance of `head`; pixels
}

/** Pitch, yaw, roll. */
export function degreesOf(pose: HeadPose): Triple {
  return aflwDegrees(pose.rotation);
}

/** Millimetres relative to the camera, OpenTrack's axes. */
export function positionOf({ head, camera }: HeadPose): Triple {
  return worldPosition([head[0] - camera.x, head[1] - camera.y, head[2]], camera.width, camera.height, camera.diagonalFov);
}

/** Degrees about the image's axes, of pitch, yaw and roll as far as the network tells. */
export function deviationsOf({ rotationTril }: HeadPose): Triple | undefined {
  return rotationTril && deviations(rotationTril);
}

/** tril: (3 · 3), radians -> degrees. */
export function deviations(tril: Float32Array): Triple {
  const of = (row: number) => {
    const [a, b, c] = tril.subarray(3 * row, 3 * row + 3).map((value) => value * value);
    return f32(f32(Math.sqrt(f32(f32(a + b) + c))) * DEGREES);
  };
  return [of(0), of(1), of(2)];
}

/** 6 × 6 of the rotation vector in the image's frame, radians, and of `head`, pixels. */
export function covarianceOf({ rotationTril, headTril }: HeadPose): Matrix | undefined {
  if (!rotationTril || !headTril) return undefined;
  const square = (tril: Float32Array, r: number, c: number) =>
    tril[3 * r] * tril[3 * c] + tril[3 * r + 1] * tril[3 * c + 1] + tril[3 * r + 2] * tril[3 * c + 2];
  return matrix(6, 6, (r, c) => (r < 3 && c < 3 ? square(rotationTril, r, c) : r > 2 && c > 2 ? square(headTril, r - 3, c - 3) : 0));
}

/** The same head, turned and moved stiffly. */
export function movedTo(pose: HeadPose, rotation: Quaternion, head: Triple): HeadPose {
  const scale = pose.head[2] > 0 ? head[2] / pose.head[2] : 1;
  const moved = (value: number, axis: number) => f32(value - pose.head[axis]) * scale + head[axis];
  const [x0, y0, x1, y1] = pose.box;
  const box: Quaternion = [moved(x0, 0), moved(y0, 1), moved(x1, 0), moved(y1, 1)];
  return { ...pose, rotation, head, box, landmarks: pose.landmarks && movedLandmarks(pose, pose.landmarks, rotation, head, scale) };
}

function movedLandmarks(pose: HeadPose, landmarks: Float64Array, rotation: Quaternion, head: Triple, scale: number): Float64Array {
  const turn = multiply(rotation, conjugate(pose.rotation));
  const result = new Float64Array(landmarks.length);
  for (let n = 0; n < landmarks.length; n += 3) {
    const [x, y, z] = turned(turn, [landmarks[n] - pose.head[0], landmarks[n + 1] - pose.head[1], landmarks[n + 2]]);
    result.set([x * scale + head[0], y * scale + head[1], z * scale], n);
  }
  return result;
}
