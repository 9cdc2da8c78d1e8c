/** What page and worker say to each other: calls with an answer each. */

import type { Heads } from "./calm.ts";
import type { Following } from "./following.ts";

export interface Drawn {
  readonly axes: boolean;
  readonly box: boolean;
  readonly landmarks: boolean;
}

/** Things that the worker does: name -> what it is given, what it answers. */
export interface Calls {
  /** Load ONNX Runtime; "auto" runs networks where they are faster. Answers one line on where they run. */
  start: { given: { canvas: OffscreenCanvas; gpu: "auto" | "on" | "off" }; answer: { backend: string } };
  /** Use the network of a file, and forget the tracked heads. */
  load: { given: { name: string; bytes: Uint8Array }; answer: { kind: "pose" | "localizer"; line: string } };
  /** Follow heads into this frame, and draw them. seconds: its time; null for an image, in which they are found anew. */
  frame: {
    given: { bitmap: ImageBitmap; seconds: number | null; diagonalFov: number; how: Following; drawn: Drawn };
    answer: { heads: Heads };
  };
  /** Forget the tracked heads. */
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
