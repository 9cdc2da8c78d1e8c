/** How far eyes and mouth are open, from landmarks alone; trackertraincode/tracking/openness.py. */

import { axes, type Quaternion, type Triple } from "./rotation.ts";

type Pair = readonly [number, number];
// Corners of the opening, and pairs of points opposite each other on its upper and lower edge; iBUG numbers.
const OPENINGS: readonly { corners: Pair; pairs: readonly Pair[] }[] = [
  { corners: [36, 39], pairs: [[37, 41], [38, 40]] }, // right eye
  { corners: [42, 45], pairs: [[43, 47], [44, 46]] }, // left eye
  { corners: [60, 64], pairs: [[61, 67], [62, 66], [63, 65]] }, // mouth
]; // prettier-ignore
const TINY = 2 ** -126; // the smallest normal float32

/** Right eye, left eye, mouth: height of the opening over its width, as the face is seen from the front. */
export function openness(landmarks: Float64Array, rotation: Quaternion): Triple {
  const [right, down] = axes(rotation);
  const along = (axis: Triple, point: number) =>
    axis[0] * landmarks[3 * point] + axis[1] * landmarks[3 * point + 1] + axis[2] * landmarks[3 * point + 2];
  const distance = ([a, b]: Pair) => Math.hypot(along(right, a) - along(right, b), along(down, a) - along(down, b));
  const share = ({ corners, pairs }: (typeof OPENINGS)[number]) =>
    pairs.reduce((sum, pair) => sum + distance(pair), 0) / pairs.length / Math.max(distance(corners), TINY);
  return [share(OPENINGS[0]), share(OPENINGS[1]), share(OPENINGS[2])];
}
