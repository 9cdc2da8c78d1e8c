/** Who is who: people that were seen, and heads that are seen now; trackertraincode/tracking/assignment.py. */

const MOST_SIZE_RATIO = 1.8; // of one person's head between two times
const REACH = 2.5; // radii within which a person is looked for who was seen in the frame before…
const REACH_PER_FRAME = 0.15; // … and that many more for each frame since
const COASTING = 20; // frames for which somebody who isn't seen is thought to move on
const BLEND = 0.4; // weight of the newest velocity
const f32 = Math.fround;

export type Place = readonly [x: number, y: number];

/** Where a head is and how it moves, per frame; pixels. */
export class Motion {
  constructor(
    readonly place: Place,
    readonly radius: number,
    readonly velocity: Place = [0, 0],
    readonly hidden = 0, // frames since it was seen
  ) {}

  /** In the next frame, as long as it isn't seen there. */
  next(): Motion {
    const [x, y] = this.hidden < COASTING ? this.velocity : [0, 0];
    return new Motion([this.place[0] + x, this.place[1] + y], this.radius, this.velocity, this.hidden + 1);
  }

  /** In the frame that `next` led to. before: when it was seen last. */
  seen(place: Place, radius: number, before: Motion): Motion {
    const weight = this.hidden <= 1 ? BLEND : 1;
    const along = (axis: 0 | 1) => {
      const step = f32(f32(place[axis] - before.place[axis]) / Math.max(1, this.hidden));
      return this.velocity[axis] + weight * (step - this.velocity[axis]);
    };
    return new Motion(place, radius, [along(0), along(1)]);
  }

  /** In radii. */
  distance(place: Place): number {
    return Math.hypot(place[0] - this.place[0], place[1] - this.place[1]) / Math.max(this.radius, 1e-6);
  }

  /** How unlikely it is that this is the head seen there; infinite where it can't be. */
  cost(place: Place, radius: number): number {
    const ratio = Math.abs(Math.log(Math.max(radius, 1e-6) / Math.max(this.radius, 1e-6)));
    const reach = REACH + REACH_PER_FRAME * Math.max(0, this.hidden - 1);
    const possible = this.distance(place) <= reach && ratio <= Math.log(MOST_SIZE_RATIO);
    return possible ? this.distance(place) / reach + ratio : Infinity;
  }
}

/** Costs -> the pairs of row and column that are possible at the least total cost, as many as can be. */
export function assign(costs: readonly (readonly number[])[]): [row: number, column: number][] {
  const possible = costs.flat().filter(Number.isFinite);
  const worst = 1 + possible.reduce((sum, cost) => sum + cost, 0); // more than any choice of possible ones
  const size = Math.max(costs.length, costs[0]?.length ?? 0);
  const square = Array.from({ length: size }, (_, r) => Array.from({ length: size }, (_, c) => Math.min(costs[r]?.[c] ?? worst, worst)));
  return cheapest(square)
    .map((column, row): [number, number] => [row, column])
    .filter(([row, column]) => Number.isFinite(costs[row]?.[column] ?? Infinity));
}

/** The column of each row at the least total cost: shortest augmenting paths (Jonker and Volgenant, 1987). */
function cheapest(costs: readonly (readonly number[])[]): number[] {
  const size = costs.length;
  const [ofRow, ofColumn] = [new Float64Array(size), new Float64Array(size + 1)]; // prices
  const rowAt = new Int32Array(size + 1).fill(-1); // of each column; the last one is where a path begins
  for (let row = 0; row < size; row++) {
    const least = new Float64Array(size).fill(Infinity);
    const from = new Int32Array(size).fill(size);
    const done = new Uint8Array(size + 1);
    let column = size;
    rowAt[column] = row;
    while (rowAt[column] >= 0) {
      done[column] = 1;
      const current = rowAt[column];
      let [next, step] = [-1, Infinity];
      for (let c = 0; c < size; c++) {
        if (done[c]) continue;
        const reduced = costs[current][c] - ofRow[current] - ofColumn[c];
        if (reduced < least[c]) [least[c], from[c]] = [reduced, column];
        if (least[c] < step) [next, step] = [c, least[c]];
      }
      for (let c = 0; c <= size; c++) {
        if (done[c]) {
          ofRow[rowAt[c]] += step;
          ofColumn[c] -= step;
        } else {
          least[c] -= step;
        }
      }
      column = next;
    }
    while (column !== size) {
      rowAt[column] = rowAt[from[column]];
      column = from[column];
    }
  }
  const result = Array<number>(size);
  for (let c = 0; c < size; c++) result[rowAt[c]] = c;
  return result;
}
