/** Calm head poses: a filter on the poses of one head; trackertraincode/tracking/calm.py. */

import { type Filter, type FilterName, FILTERS } from "./filters.ts";
import { covarianceOf, type HeadPose, movedTo } from "./pose.ts";
import { normalized } from "./rotation.ts";

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
