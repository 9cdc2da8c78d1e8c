/** Rows of poses as CSV, in the columns of `ttc track --csv`, and the latency. */

import { openness } from "./openness.ts";
import type { HeadPose } from "./tracker.ts";

type Cell = number | string;
const HEAD = 1; // the page follows one head

/** Names that stand together -> their values of a head; nothing where the network doesn't tell them. */
const OF_HEAD: readonly [names: string, values: (pose: HeadPose) => readonly Cell[] | undefined][] = [
  ["id", () => [HEAD]],
  ["pitch yaw roll", (pose) => pose.degrees],
  ["qi qj qk qw", (pose) => pose.rotation],
  ["x y radius", (pose) => pose.head],
  ["x0 y0 x1 y1", (pose) => pose.box],
  ["world_x_mm world_y_mm world_z_mm", (pose) => pose.positionMm],
  ["std_x std_y std_z", (pose) => pose.deviations],
  ["eye_right eye_left mouth", (pose) => pose.landmarks && openness(pose.landmarks, pose.rotation)],
];
const COLUMNS = ["frame", "time", "face", ...OF_HEAD.flatMap(([names]) => names.split(" ")), "latency_ms"];

/** frame: of the source, counted from 0; seconds: since it began; latency: milliseconds from the frame to its pose. */
function csvRow(frame: number, seconds: number, pose: HeadPose | null, latency: number): string {
  const cells = OF_HEAD.flatMap(([names, values]) => (pose && values(pose)) ?? names.split(" ").map(() => ""));
  const face = pose ? "True" : "False";
  return [String(frame).padStart(6, "0"), seconds.toFixed(6), face, ...cells, latency.toFixed(2)].join(",");
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

  add(frame: number, seconds: number, pose: HeadPose | null, latency: number): void {
    if (this.recording) this.rows.push(csvRow(frame, seconds, pose, latency));
  }

  /** Lines end as Python's csv writes them. */
  csv(): Blob {
    return new Blob([[COLUMNS.join(","), ...this.rows, ""].join("\r\n")], { type: "text/csv" });
  }
}
