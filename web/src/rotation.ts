/** Rotations as quaternions i, j, k, w; trackertraincode/geometry/single.py. */

export type Triple = readonly [number, number, number];
export type Quaternion = readonly [number, number, number, number]; // i, j, k, w

/** First the turn b, then a. */
export function multiply(a: Quaternion, b: Quaternion): Quaternion {
  const [x, y, z, w] = a;
  const [i, j, k, r] = b;
  return [w * i + x * r + y * k - z * j, w * j - x * k + y * r + z * i, w * k + x * j - y * i + z * r, w * r - x * i - y * j - z * k];
}

/** The turn back, of a unit quaternion. */
export function conjugate([i, j, k, w]: Quaternion): Quaternion {
  return [-i, -j, -k, w];
}

export function normalized(quat: Quaternion): Quaternion {
  const norm = Math.hypot(...quat);
  return [quat[0] / norm, quat[1] / norm, quat[2] / norm, quat[3] / norm];
}

/** vector: radians about each axis. */
export function fromRotvec(vector: Triple): Quaternion {
  const angle = Math.hypot(...vector);
  const share = angle > 0 ? Math.sin(angle / 2) / angle : 0.5;
  return [vector[0] * share, vector[1] * share, vector[2] * share, Math.cos(angle / 2)];
}

/** Of a unit quaternion; at most pi long. */
export function toRotvec([i, j, k, w]: Quaternion): Triple {
  const sine = Math.hypot(i, j, k);
  const angle = 2 * Math.atan2(sine, Math.abs(w));
  const share = sine > 1e-12 ? (w < 0 ? -angle : angle) / sine : 2;
  return [i * share, j * share, k * share];
}

/** The axes of what is turned: columns of the matrix of a rotation of any length. */
export function axes(rotation: Quaternion): readonly [Triple, Triple, Triple] {
  const [i, j, k, w] = normalized(rotation);
  return [
    [1 - 2 * (j * j + k * k), 2 * (i * j + k * w), 2 * (i * k - j * w)],
    [2 * (i * j - k * w), 1 - 2 * (i * i + k * k), 2 * (j * k + i * w)],
    [2 * (i * k + j * w), 2 * (j * k - i * w), 1 - 2 * (i * i + j * j)],
  ];
}

/** A vector, turned. */
export function turned(rotation: Quaternion, [x, y, z]: Triple): Triple {
  const [a, b, c] = axes(rotation);
  return [a[0] * x + b[0] * y + c[0] * z, a[1] * x + b[1] * y + c[1] * z, a[2] * x + b[2] * y + c[2] * z];
}

/** Pitch, yaw, roll in degrees, in the convention of AFLW2000-3D, of a rotation of any length. */
export function aflwDegrees(rotation: Quaternion): Triple {
  const [i, j, k, w] = normalized(rotation);
  const [x, y] = [1 - 2 * (j * j + k * k), 2 * (i * j - k * w)];
  const degrees = (radians: number) => (radians * 180) / Math.PI;
  const yaw = Math.atan2(2 * (i * k + j * w), Math.hypot(x, y));
  if (Math.hypot(x, y) < 1e-6) return [-degrees(Math.atan2(2 * (j * k + i * w), 1 - 2 * (i * i + k * k))), degrees(yaw), 0];
  const pitch = -Math.atan2(-2 * (j * k - i * w), 1 - 2 * (i * i + j * j));
  return [degrees(pitch), degrees(yaw), degrees(Math.atan2(-y, x))];
}
