/** Draws heads over their frame, in the colours of trackertraincode/visualize.py. */

import type { Heads } from "./calm.ts";
import type { Drawn } from "./messages.ts";
import type { HeadPose } from "./pose.ts";
import { axes } from "./rotation.ts";

const AXIS_COLOURS = ["#ff3c3c", "#3cdc3c", "#5078ff"]; // x right, y down, z into the screen
const BOX_COLOUR = "#ffeb3c";
const HEAD_COLOUR = "#3ce6e6";
const GROUPS: readonly [from: number, to: number, closed: boolean, colour: string][] = [
  [0, 17, false, "#78beff"], // jaw
  [17, 22, false, "#ffaa46"], // brows
  [22, 27, false, "#ffaa46"],
  [27, 31, false, "#beff6e"], // nose
  [31, 36, false, "#beff6e"],
  [36, 42, true, "#ff78ff"], // eyes
  [42, 48, true, "#ff78ff"],
  [48, 60, true, "#ff6e6e"], // lips
  [60, 68, true, "#ffb4b4"],
];

type Context = OffscreenCanvasRenderingContext2D;

/** numbered: each has its number. */
export function drawHeads(context: Context, heads: Heads, drawn: Drawn, numbered: boolean): void {
  for (const [number, pose] of heads) {
    drawPose(context, pose, drawn);
    if (numbered) drawNumber(context, pose, number);
  }
}

function drawNumber(context: Context, { box }: HeadPose, number: number): void {
  const size = Math.max(16, Math.round(Math.max(context.canvas.width, context.canvas.height) / 28));
  context.font = `${size}px system-ui, sans-serif`;
  context.lineWidth = size / 6;
  context.strokeStyle = "#000000";
  context.fillStyle = "#ffffff";
  const [x, y] = [Math.max(2, box[0] + 3), Math.max(size, box[1] - 5)];
  context.strokeText(String(number), x, y);
  context.fillText(String(number), x, y);
}

function drawPose(context: Context, pose: HeadPose, drawn: Drawn): void {
  const width = Math.max(1, Math.round(Math.max(context.canvas.width, context.canvas.height) / 400));
  context.lineWidth = width;
  context.lineJoin = "round";
  if (drawn.box) {
    const [x0, y0, x1, y1] = pose.box;
    context.strokeStyle = BOX_COLOUR;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    context.strokeStyle = HEAD_COLOUR;
    context.beginPath();
    context.arc(pose.head[0], pose.head[1], Math.max(0, pose.head[2]), 0, 2 * Math.PI);
    context.stroke();
  }
  if (drawn.landmarks && pose.landmarks) drawLandmarks(context, pose.landmarks);
  if (drawn.axes) drawAxes(context, pose, width + 1);
}

function drawLandmarks(context: Context, landmarks: Float64Array): void {
  const radius = 0.75 * context.lineWidth;
  for (const [from, to, closed, colour] of GROUPS) {
    context.strokeStyle = context.fillStyle = colour;
    context.beginPath();
    for (let n = from; n < to; n++) context.lineTo(landmarks[3 * n], landmarks[3 * n + 1]);
    if (closed) context.closePath();
    context.stroke();
    for (let n = from; n < to; n++) {
      context.beginPath();
      context.arc(landmarks[3 * n], landmarks[3 * n + 1], radius, 0, 2 * Math.PI);
      context.fill();
    }
  }
}

/** From the head centre, one head radius long; the one that points at the viewer comes last. */
function drawAxes(context: Context, pose: HeadPose, width: number): void {
  const directions = axes(pose.rotation);
  const [x, y, radius] = pose.head;
  context.lineWidth = width;
  context.lineCap = "round";
  for (const axis of [0, 1, 2].sort((a, b) => directions[b][2] - directions[a][2])) {
    context.strokeStyle = AXIS_COLOURS[axis];
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + radius * directions[axis][0], y + radius * directions[axis][1]);
    context.stroke();
  }
}
