/** HeadPoseTracker: give it frames, get head poses; trackertraincode/tracking/tracker.py.
 *
 *   const tracker = new HeadPoseTracker(network, localizer);
 *   const pose = await tracker.update(view);   // null: no face
 */

import * as client from "./client.ts";
import { startOf } from "./finding.ts";
import type { HeadPose } from "./pose.ts";
import { isSeen, type Localizer, lookForFace, poseIn, type PoseNetwork, sizeOf, type View } from "./view.ts";

const LOST_IOU = 0.25; // overlap of localizer and tracked box under which the localizer looks, and its box is taken
const LOST_SCORE = 0.1; // localizer score under which a tracked head counts as gone; profiles score low but above
export const LOOK_EVERY = 15; // frames between looks whether the head is still there, as `ttc track` does

export class HeadPoseTracker {
  private box: client.PixelBox | null = null; // where to look, in the part of the frame that is seen
  private found: client.PixelBox | null = null; // where the localizer saw this head
  private size = ""; // of the part that is seen; boxes are of it
  private frames = 0;

  constructor(
    private readonly network: PoseNetwork,
    private readonly localizer: Localizer,
  ) {}

  /** The head's pose in the next frame, null where there is no face; frames of another size are of another source. */
  async update(view: View): Promise<HeadPose | null> {
    if (sizeOf(view) !== this.size) this.found = this.box = null;
    this.size = sizeOf(view);
    const leftPlace = !this.box || !this.found || client.overlap(this.found, this.box) < LOST_IOU;
    if (leftPlace || this.frames % LOOK_EVERY === 0) await this.localize(view);
    this.frames++;
    if (!this.box) return null;
    const { pose, box } = await poseIn(this.network, view, this.box);
    const next = client.nextBox(this.box, box);
    this.box = isSeen(view, next) ? next : null;
    return pose;
  }

  /** Look for the face in the coarsest level, as the plugin does: keep to the box, or take the one where the face is. */
  private async localize(view: View): Promise<void> {
    const { pyramid } = view;
    const level = pyramid.depth - 1;
    const { score, box, isFace, accepted } = await lookForFace(this.localizer, pyramid.grey(level), 2 ** level);
    if (isFace && this.box && client.overlap(box, this.box) >= LOST_IOU) {
      this.found = box;
    } else if (accepted && client.hasUsableSize(box, pyramid.width, pyramid.height)) {
      this.found = this.box = await startOf(this.localizer, this.network, view, box, this.box);
    } else {
      this.found = null;
      if (score < LOST_SCORE) this.box = null;
    }
  }
}
