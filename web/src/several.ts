/** Several heads in one image, each with a number that it keeps; trackertraincode/tracking/several.py. */

import { assign, Motion, type Place } from "./assignment.ts";
import * as client from "./client.ts";
import { findFaces, isSure, looksLikeFace } from "./finding.ts";
import type { HeadPose } from "./pose.ts";
import { LOOK_EVERY } from "./tracker.ts";
import { isSeen, type Localizer, poseIn, type PoseNetwork, sizeOf, type View } from "./view.ts";

const SAME_HEAD = 0.4; // intersection over union of two boxes that hold the same head
const JUMP = 0.6; // radii between where a head is expected and where it is seen, beyond which it is someone else's
const REMEMBERED = 1800; // frames for which somebody who left is known
const MOST_PEOPLE = 50; // of whom something is remembered
const f32 = Math.fround;

/** Somebody who is in the view, or was. */
interface Person {
  readonly motion: Motion;
  readonly last: Motion; // when seen
  readonly box: client.PixelBox; // where to look
}

/** A head as the pose network sees it in a box. */
interface Sight {
  readonly pose: HeadPose;
  readonly box: client.PixelBox;
  readonly place: Place; // in the view
}

/** Follows some heads at a time; who is hidden by somebody else, or left, has their number again when they come back. */
export class SeveralHeads {
  private people = new Map<number, Person>();
  private size = ""; // of the part that is seen; places are in it
  private frames = 0;
  private numbers = 0;

  /** faces: at most. */
  constructor(
    private readonly network: PoseNetwork,
    private readonly localizer: Localizer,
    private readonly faces: number,
  ) {}

  /** Number and pose of each head in the next frame; in one of another size, as of another source, all are new. */
  async update(view: View): Promise<[number: number, pose: HeadPose][]> {
    if (sizeOf(view) !== this.size) this.people.clear();
    this.size = sizeOf(view);
    for (const [number, person] of this.people) this.people.set(number, { ...person, motion: person.motion.next() });
    const seen = await this.followed(view);
    if ((this.frames % LOOK_EVERY === 0 || !seen.size) && seen.size < this.faces) await this.lookForMore(view, seen);
    this.frames++;
    for (const [number, { pose, box, place }] of seen) {
      const person = this.person(number);
      const motion = person.motion.seen(place, pose.head[2], person.last);
      this.people.set(number, { motion, last: motion, box });
    }
    this.forget();
    return [...seen].sort(([a], [b]) => a - b).map(([number, { pose }]) => [number, pose]);
  }

  private person(number: number): Person {
    const found = this.people.get(number);
    if (!found) throw new Error(`nobody has the number ${number}`);
    return found;
  }

  /** Heads that were in the frame before, and those that were hidden and show again where they are expected. Where these
   * are too many, those stay who were seen first, ever. */
  private async followed(view: View): Promise<Map<number, Sight>> {
    const sights = new Map<number, Sight>();
    for (const [number, { motion, last, box }] of this.people) {
      const hidden = motion.hidden - 1;
      if (hidden > LOOK_EVERY) continue;
      const expected = hidden ? { ...box, x: box.x + motion.place[0] - last.place[0], y: box.y + motion.place[1] - last.place[1] } : box;
      if (!isSeen(view, expected)) continue;
      const sight = await sightIn(this.network, view, expected);
      if (isSeen(view, sight.box)) sights.set(number, sight);
    }
    const kept = new Map<number, Sight>();
    for (const [number, sight] of [...this.withoutDoubles(sights)].sort(([a], [b]) => a - b)) {
      if (kept.size < this.faces && await this.isHead(view, number, sight)) kept.set(number, sight);
    }
    return kept;
  }

  /** Where two people's boxes hold one head, only the one from whose place it is not as far. */
  private withoutDoubles(sights: Map<number, Sight>): Map<number, Sight> {
    const kept = new Map<number, Sight>();
    const surprise = ([number, { place }]: [number, Sight]) => {
      const { motion } = this.person(number);
      return motion.distance(place) + (motion.hidden > 1 ? 0.1 : 0);
    };
    for (const [number, sight] of [...sights].sort((a, b) => surprise(a) - surprise(b))) {
      if ([...kept.values()].every((other) => client.overlap(sight.box, other.box) < SAME_HEAD)) kept.set(number, sight);
    }
    return kept;
  }

  /** Whether this is still the person's head. The localizer is asked at times, of those who show again, and where the
   * network is unsure, as it is while somebody else hides a head. Who shows again is seen surely. */
  private async isHead(view: View, number: number, { pose, box, place }: Sight): Promise<boolean> {
    const { motion } = this.person(number);
    const hidden = motion.hidden - 1;
    const sure = await isSure(this.network, pose);
    if (hidden && (motion.distance(place) > JUMP || !sure)) return false;
    const due = hidden || !sure || (this.frames + number) % LOOK_EVERY === 0;
    return !due || looksLikeFace(this.localizer, view, box);
  }

  /** Add heads that nobody follows: of people who were seen before, else of new ones. */
  private async lookForMore(view: View, seen: Map<number, Sight>): Promise<void> {
    const boxes = await findFaces(this.localizer, this.network, view, [...seen.values()].map(({ box }) => box));
    const sights: Sight[] = [];
    for (const box of boxes) sights.push(await sightIn(this.network, view, box));
    const away = [...this.people.keys()].filter((number) => !seen.has(number));
    const costs = away.map((number) => sights.map(({ place, pose }) => this.person(number).motion.cost(place, pose.head[2])));
    const known = new Map(assign(costs).map(([row, column]) => [column, away[row]]));
    for (const [index, sight] of sights.entries()) {
      if (seen.size >= this.faces) break;
      let number = known.get(index);
      if (number === undefined) {
        number = ++this.numbers;
        const motion = new Motion(sight.place, sight.pose.head[2]);
        this.people.set(number, { motion, last: motion, box: sight.box });
      }
      seen.set(number, sight);
    }
  }

  /** Those who left long ago. */
  private forget(): void {
    const known = [...this.people].filter(([, { motion }]) => motion.hidden <= REMEMBERED);
    const latest = known.sort(([, a], [, b]) => a.motion.hidden - b.motion.hidden).slice(0, MOST_PEOPLE);
    this.people = new Map(latest.sort(([a], [b]) => a - b));
  }
}

async function sightIn(network: PoseNetwork, view: View, place: client.PixelBox): Promise<Sight> {
  const { pose, box } = await poseIn(network, view, place);
  return { pose, box, place: [f32(pose.head[0] - view.camera.x), f32(pose.head[1] - view.camera.y)] };
}
