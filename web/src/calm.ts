/** Calm head poses: a filter on the poses of each head; trackertraincode/tracking/calm.py. */

import { type Filter, type FilterName, FILTERS, LONGEST_GAP } from "./filters.ts";
import { covarianceOf, type HeadPose, movedTo } from "./pose.ts";
import { normalized } from "./rotation.ts";

/** Number and pose of each head. */
export type Heads = readonly (readonly [number: number, pose: HeadPose])[];

export class CalmPose {
  private readonly filter: Filter;

  constructor(name: FilterName) {
    this.filter = FILTERS[name]();
  }

  /** The calm pose at this time, which is later than that of the last one. */
  update(pose: HeadPose, seconds: number): HeadPose {
    const measured = { rotation: normalized(pose.rotation), position: pose.head };
    const calm = this.filter.update(measured, seconds, Math.max(pose.head[2], 1), covarianceOf(pose));
    return calm === measured ? pose : movedTo(pose, calm.rotation, calm.position);
  }
}

/** Filters of several heads, each kept as long as it remembers anything. */
export class CalmHeads {
  private known = new Map<number, { readonly calm: CalmPose; readonly seen: number }>(); // by number of a head
  private size = "";

  constructor(private readonly name: FilterName) {}

  /** Calm poses at this time, which is later than the last one. size: of the frame; in one of another size, as of another
   * source, all filters begin anew. */
  update(heads: Heads, seconds: number, size: string): Heads {
    if (size !== this.size) this.known.clear();
    this.size = size;
    for (const [number, { seen }] of this.known) if (!(seconds - seen < LONGEST_GAP)) this.known.delete(number);
    return heads.map(([number, pose]) => {
      const calm = this.known.get(number)?.calm ?? new CalmPose(this.name);
      this.known.set(number, { calm, seen: seconds });
      return [number, calm.update(pose, seconds)];
    });
  }
}
