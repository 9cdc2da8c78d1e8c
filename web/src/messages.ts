/** What page and worker say to each other: calls with an answer each. */

import type { HeadPose } from "./tracker.ts";

export interface Drawn {
  readonly axes: boolean;
  readonly box: boolean;
  readonly landmarks: boolean;
}

/** Things that the worker does: name -> what it is given, what it answers. */
export interface Calls {
  /** Load ONNX Runtime; "auto" runs networks where they are faster. Answers one line on where they run. */
  start: { given: { canvas: OffscreenCanvas; gpu: "auto" | "on" | "off" }; answer: { backend: string } };
  /** Use the network of a file, and forget the tracked head. */
  load: { given: { name: string; bytes: Uint8Array }; answer: { kind: "pose" | "localizer"; line: string } };
  /** Follow the head into this frame, and draw it. */
  frame: {
    given: { bitmap: ImageBitmap; independent: boolean; diagonalFov: number; drawn: Drawn };
    answer: { pose: HeadPose | null };
  };
  /** Forget the tracked head. */
  reset: { given: Record<string, never>; answer: Record<string, never> };
  /** Draw the last frame again. */
  redraw: { given: { drawn: Drawn }; answer: Record<string, never> };
}
export type Call = keyof Calls;

export interface Request<C extends Call = Call> {
  readonly id: number;
  readonly call: C;
  readonly given: Calls[C]["given"];
}

export type Reply = { readonly id: number } & ({ readonly answer: object } | { readonly problem: string });
