/** Rows of poses as CSV, in the columns of `ttc track --csv`, with the time, the model's uncertainty and the latency. */

import type { HeadPose } from "./tracker.ts";

const COLUMNS = [
  "frame", "time", "face", "pitch", "yaw", "roll", "qi", "qj", "qk", "qw", "x", "y", "radius", "x0", "y0", "x1", "y1",
  "world_x_mm", "world_y_mm", "world_z_mm", "pitch_std", "yaw_std", "roll_std", "latency_ms",
] as const; // prettier-ignore

/** frame: of the source, counted from 0; seconds: since it began, or of the video; latency: milliseconds to the pose. */
function csvRow(frame: number, seconds: number, pose: HeadPose | null, latency: number): string {
  const values = pose
    ? ["True", ...pose.degrees, ...pose.rotation, ...pose.head, ...pose.box, ...pose.positionMm, ...(pose.deviations ?? ["", "", ""])]
    : ["False", ...Array<string>(COLUMNS.length - 4).fill("")];
  return [String(frame).padStart(6, "0"), seconds.toFixed(4), ...values, latency.toFixed(2)].join(",");
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
