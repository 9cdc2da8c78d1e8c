/** What the page asks of each frame: one head or several, calm. */

import { CalmHeads, type Heads } from "./calm.ts";
import type { FilterName } from "./filters.ts";
import type { HeadPose } from "./pose.ts";
import { SeveralHeads } from "./several.ts";
import { HeadPoseTracker } from "./tracker.ts";
import { type Localizer, type PoseNetwork, sizeOf, type View } from "./view.ts";

export const MOST_HEADS = 20;

export interface Following {
  readonly filter: FilterName;
  readonly heads: number; // at most
}

/** Follows heads through the frames of one source. */
export class Follower {
  private readonly calm: CalmHeads;
  private readonly update: (view: View) => Promise<Heads>;

  constructor(
    network: PoseNetwork,
    localizer: Localizer,
    readonly how: Following,
  ) {
    this.calm = new CalmHeads(how.filter);
    const one = new HeadPoseTracker(network, localizer);
    const several = new SeveralHeads(network, localizer, how.heads);
    this.update = how.heads > 1 ? (view) => several.update(view) : async (view) => asHeads(await one.update(view));
  }

  /** seconds: time of the frame, null for an image, which has none. */
  async next(view: View, seconds: number | null): Promise<Heads> {
    const heads = await this.update(view);
    return seconds === null ? heads : this.calm.update(heads, seconds, sizeOf(view));
  }
}

function asHeads(pose: HeadPose | null): Heads {
  return pose ? [[1, pose]] : [];
}
