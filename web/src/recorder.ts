/** Rows of poses as CSV, in the columns of `ttc track --csv`, and the latency. */

import type { Heads } from "./calm.ts";
import { openness } from "./openness.ts";
import { degreesOf, deviationsOf, type HeadPose, positionOf } from "./pose.ts";

/** Names that stand together -> their values of a head; nothing where the network doesn't tell them. */
const OF_HEAD: readonly [names: string, values: (pose: HeadPose) => readonly number[] | undefined][] = [
  ["pitch yaw roll", degreesOf],
  ["qi qj qk qw", (pose) => pose.rotation],
  ["x y radius", (pose) => pose.head],
  ["x0 y0 x1 y1", (pose) => pose.box],
  ["world_x_mm world_y_mm world_z_mm", positionOf],
  ["std_x std_y std_z", deviationsOf],
  ["eye_right eye_left mouth", (pose) => pose.landmarks && openness(pose.landmarks, pose.rotation)],
];
const COLUMNS = ["frame", "time", "face", "id", ...OF_HEAD.flatMap(([names]) => names.split(" ")), "latency_ms"];

/** Of one head, or of a frame without any. frame: of the source, counted from 0; seconds: since it began; latency:
 * milliseconds from the frame to its poses. */
function csvRow(frame: number, seconds: number, head: Heads[number] | null, latency: number): string {
  const cells = OF_HEAD.flatMap(([names, values]): readonly (number | string)[] => (head && values(head[1])) ?? names.split(" ").map(() => ""));
  const [face, id] = head ? ["True", head[0]] : ["False", ""];
  return [String(frame).padStart(6, "0"), seconds.toFixed(6), face, id, ...cells, latency.toFixed(2)].join(",");
}

export class Recorder {
  private rows: string[] = [];
  recording = false;

  start(): void {
    this.rows = [];
    this.recording = true;
  }

  get count(): number {
    return this.rows.length;
  }

  /** A row of each head, as `csvRow` says. */
  add(frame: number, seconds: number, heads: Heads, latency: number): void {
    if (!this.recording) return;
    for (const head of heads.length ? heads : [null]) this.rows.push(csvRow(frame, seconds, head, latency));
  }

  /** Lines end as Python's csv writes them. */
  csv(): Blob {
    return new Blob([[COLUMNS.join(","), ...this.rows, ""].join("\r\n")], { type: "text/csv" });
  }
}
