/** Filters that make poses calm; trackertraincode/tracking/filters.py, which explains them. */

import { block, cholesky, diagonal, type Matrix, matrix, product, solve, sum, times, transposed, turnedBy } from "./matrix.ts";
import { axes, conjugate, fromRotvec, multiply, normalized, type Quaternion, toRotvec, type Triple } from "./rotation.ts";

export const LONGEST_GAP = 0.5; // seconds without a pose after which a filter begins anew
const MOST_EXCESS = 6; // of the mean innovation's squared length over the expected one
const LEAST_STD = 1e-4; // radians, and units: nothing is surer
const USUAL_STD = 0.03; // radians, and units: deviation of poses whose model doesn't tell one

export interface Pose {
  readonly rotation: Quaternion;
  readonly position: Triple;
}

/** Follows one head. */
export interface Filter {
  /** The calm pose at a time later than the last one. unit: the length that counts as much as a radian; covariance: 6 × 6
   * of the rotation vector in the frame that rotations lead to, radians, and of the position. */
  update(measured: Pose, seconds: number, unit: number, covariance?: Matrix): Pose;
}

class Unfiltered implements Filter {
  update(measured: Pose): Pose {
    return measured;
  }
}

/** A low pass whose cutoff grows with the speed. minCutoff: of a head at rest, Hz; beta: Hz per radian or unit per second. */
class OneEuro implements Filter {
  private last?: { seconds: number; raw: Pose; calm: Pose };
  private speeds: [number[], number[]] = [[0, 0, 0], [0, 0, 0]]; // of rotation and position

  constructor(
    private readonly minCutoff = 0.8,
    private readonly beta = 4,
    private readonly speedCutoff = 1,
  ) {}

  update(measured: Pose, seconds: number, unit: number): Pose {
    const step = seconds - (this.last?.seconds ?? -Infinity);
    if (!this.last || !(step > 0 && step < LONGEST_GAP)) {
      this.speeds = [[0, 0, 0], [0, 0, 0]];
      this.last = { seconds, raw: measured, calm: measured };
      return measured;
    }
    const [turned, shifted] = difference(measured, this.last.raw);
    const moved = [turned, shifted.map((value) => value / unit)];
    const follow = lowPass(this.speedCutoff, step);
    const weights = this.speeds.map((speed, part) => {
      for (let axis = 0; axis < 3; axis++) speed[axis] += follow * (moved[part][axis] / step - speed[axis]);
      return lowPass(this.minCutoff + this.beta * Math.hypot(...speed), step);
    });
    const [turn, shift] = difference(measured, this.last.calm);
    const calm = movedBy(this.last.calm, scaled(turn, weights[0]), scaled(shift, weights[1]));
    this.last = { seconds, raw: measured, calm };
    return calm;
  }
}

/** Weight of a new value `step` seconds after the last one. */
function lowPass(cutoff: number, step: number): number {
  const rate = 2 * Math.PI * cutoff * step;
  return rate / (rate + 1);
}

/** Error-state Kalman filter with constant velocity, whose head may rest or move. */
class Kalman implements Filter {
  private seconds = -Infinity;
  private pose: Pose = { rotation: [0, 0, 0, 1], position: [0, 0, 0] };
  private velocity: number[] = [];
  private drift: number[] = [];
  private covariance: Matrix = []; // 12 × 12: of pose and velocities

  constructor(
    private readonly agility = 0.1,
    private readonly memory = 0.06,
    private readonly power = 6,
  ) {}

  update(measured: Pose, seconds: number, unit: number, covariance?: Matrix): Pose {
    const scale = [1, 1, 1, unit, unit, unit];
    const least = scale.map((value) => ((covariance ? LEAST_STD : USUAL_STD) * value) ** 2);
    const noise = covariance ? sum(covariance, diagonal(least)) : diagonal(least);
    const step = seconds - this.seconds;
    this.seconds = seconds;
    if (!(step > 0 && step < LONGEST_GAP)) {
      this.pose = measured;
      [this.velocity, this.drift] = [Array(6).fill(0), Array(6).fill(0)];
      this.covariance = matrix(12, 12, (r, c) => (r < 6 && c < 6 ? noise[r][c] : r === c ? scale[r - 6] ** 2 : 0));
      return measured;
    }
    this.predict(step);
    const growth = [[step ** 3 / 3, step ** 2 / 2], [step ** 2 / 2, step]];
    const grow = (factor: (axis: number) => number) => {
      const by = (r: number, c: number) => growth[Math.floor(r / 6)][Math.floor(c / 6)] * (this.agility * scale[r % 6]) ** 2;
      this.covariance = sum(this.covariance, matrix(12, 12, (r, c) => (r % 6 === c % 6 ? by(r, c) * factor(c % 6) : 0)));
    };
    grow(() => 1);
    const innovation = difference(measured, this.pose).flat();
    const excess = this.acceleration(innovation, noise, step);
    grow((axis) => excess[axis] - 1);
    this.correct(innovation, noise);
    return this.pose;
  }

  private predict(step: number): void {
    const turn = scaled(this.velocity.slice(0, 3), step);
    this.pose = movedBy(this.pose, turn, scaled(this.velocity.slice(3), step));
    const columns = axes(fromRotvec(turn));
    const transition = matrix(12, 12, (r, c) => (r < 3 && c < 3 ? columns[c][r] : r === c ? 1 : r < 6 && c === r + 6 ? step : 0));
    this.covariance = turnedBy(transition, this.covariance);
  }

  /** Factors of the variance of accelerations on each axis, one for rotation and one for position. */
  private acceleration(innovation: number[], noise: Matrix, step: number): number[] {
    const weight = 1 - Math.exp(-step / this.memory);
    return [0, 3].flatMap((from) => {
      const root = cholesky(sum(block(this.covariance, from, 3), block(noise, from, 3)));
      const white = solve(root, innovation.slice(from, from + 3).map((value) => [value]));
      for (let n = 0; n < 3; n++) this.drift[from + n] += weight * (white[n][0] - this.drift[from + n]);
      const expected = (3 * weight) / (2 - weight); // squared length of the mean of innovations that point anywhere
      const length = this.drift.slice(from, from + 3).reduce((sum, value) => sum + value * value, 0);
      return Array(3).fill(Math.min(Math.max(length / expected, 1), MOST_EXCESS) ** this.power);
    });
  }

  private correct(innovation: number[], noise: Matrix): void {
    const expected = sum(block(this.covariance, 0, 6), noise);
    const gain = transposed(solve(expected, this.covariance.slice(0, 6))); // 12 × 6
    const error = times(gain, innovation);
    this.pose = movedBy(this.pose, scaled(error, 1), scaled(error.slice(3), 1));
    this.velocity = this.velocity.map((value, n) => value + error[6 + n]);
    const keep = matrix(12, 12, (r, c) => (r === c ? 1 : 0) - (c < 6 ? gain[r][c] : 0));
    this.covariance = sum(turnedBy(keep, this.covariance), product(product(gain, noise), transposed(gain)));
  }
}

export const FILTERS = { none: () => new Unfiltered(), "one-euro": () => new OneEuro(), kalman: () => new Kalman() } satisfies Record<string, () => Filter>;
export type FilterName = keyof typeof FILTERS;
export const DEFAULT: FilterName = "kalman";

/** Rotation vector and shift that take the old pose to the new one. */
function difference(now: Pose, old: Pose): readonly [Triple, Triple] {
  const [x, y, z] = old.position;
  return [toRotvec(multiply(now.rotation, conjugate(old.rotation))), [now.position[0] - x, now.position[1] - y, now.position[2] - z]];
}

function movedBy(pose: Pose, turn: Triple, shift: Triple): Pose {
  const [x, y, z] = pose.position;
  return { rotation: normalized(multiply(fromRotvec(turn), pose.rotation)), position: [x + shift[0], y + shift[1], z + shift[2]] };
}

function scaled([x, y, z]: readonly number[], factor: number): Triple {
  return [x * factor, y * factor, z * factor];
}
