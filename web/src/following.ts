/** What the page asks of each frame: one head or several, calm. */

import { CalmPose } from "./calm.ts";
import type { FilterName } from "./filters.ts";
import type { HeadPose } from "./pose.ts";
import { SeveralHeads } from "./several.ts";
import { HeadPoseTracker } from "./tracker.ts";
import type { Localizer, PoseNetwork, View } from "./view.ts";

export const MOST_HEADS = 20;

export interface Following {
  readonly filter: FilterName;
  readonly heads: number; // at most
}

/** Number and pose of each head. */
export type Heads = readonly (readonly [number: number, pose: HeadPose])[];

/** Follows heads through the frames of one source. */
export class Follower {
  private readonly calm = new Map<number, CalmPose>(); // of each head
  private readonly update: (view: View) => Promise<Heads>;

  constructor(
    network: PoseNetwork,
    localizer: Localizer,
    readonly how: Following,
  ) {
    const one = new HeadPoseTracker(network, localizer);
    const several = new SeveralHeads(network, localizer, how.heads);
    this.update = how.heads > 1 ? (view) => several.update(view) : async (view) => asHeads(await one.update(view));
  }

  /** seconds: time of the frame, null for an image, which has none. */
  async next(view: View, seconds: number | null): Promise<Heads> {
    const heads = await this.update(view);
    return seconds === null ? heads : heads.map(([number, pose]) => [number, this.calmOf(number).update(pose, seconds)]);
  }

  private calmOf(number: number): CalmPose {
    const calm = this.calm.get(number) ?? new CalmPose(this.how.filter);
    this.calm.set(number, calm);
    return calm;
  }
}

function asHeads(pose: HeadPose | null): Heads {
  return pose ? [[1, pose]] : [];
}
