/** ONNX files of pose networks and localizers, run by ONNX Runtime Web.
 *
 *   bytes --openNetwork--> a pose network or a localizer, whichever the file holds
 */

import type * as Ort from "onnxruntime-web";
import { UserError } from "./errors.ts";
import { type Header, readHeader } from "./onnxfile.ts";
import type { Localizer, PoseAnswer, PoseNetwork } from "./view.ts";

type Runtime = typeof Ort;
type Session = Ort.InferenceSession;

/** Names under which an output may stand in a file, and how many numbers one crop has; see models/onnx_model.py. */
const OUTPUTS = {
  head: { names: ["coord", "pos_size"], sizes: [3] },
  rotation: { names: ["pose", "quat"], sizes: [4] },
  faceBox: { names: ["roi", "box"], sizes: [4] },
  landmarks: { names: ["pt3d_68"], sizes: [68 * 3] },
  headTril: { names: ["coord_scales_tril", "pos_size_scales_tril", "pos_size_std", "pos_size_scales"], sizes: [9, 3] },
  rotationTril: { names: ["pose_scales_tril", "rotaxis_scales_tril", "rotaxis_std"], sizes: [9, 3] },
} as const;
type Field = keyof typeof OUTPUTS;
const REQUIRED: readonly Field[] = ["rotation", "head", "faceBox"];

const LOCALIZER_OUTPUT = "logit_box";
const LOCALIZER_WIDTH = 288;
const LOCALIZER_HEIGHT = 224;
const KNOWN_VERSIONS = [2, 3, 4]; // `model_version`s that share today's axes
const FARTHEST = 100; // half edges of an image from its middle; no answer of a sound network lies beyond
const LARGEST = 4096; // pixels of a crop's edge
const TRIALS = 5; // runs after which the faster place is known

/** Where a network runs. */
export type Provider = "webgpu" | "wasm";

type AnyNetwork = { kind: "pose"; network: OnnxPoseNetwork } | { kind: "localizer"; network: OnnxLocalizer };
export type OpenedNetwork = AnyNetwork & { readonly provider: Provider };

/** Open a file, where it runs faster or where `provider` says; on the processor where WebGPU can't run it. */
export async function openNetwork(
  ort: Runtime,
  name: string,
  bytes: Uint8Array,
  provider: Provider | "faster",
): Promise<OpenedNetwork> {
  const header = readHeader(name, bytes);
  if (provider === "wasm") return openOn(ort, name, bytes, header, "wasm");
  const onGpu = await openOn(ort, name, bytes, header, "webgpu").catch(() => null);
  if (onGpu && provider === "webgpu") return onGpu;
  const onProcessor = await openOn(ort, name, bytes, header, "wasm");
  if (!onGpu) return onProcessor;
  const [better, worse] = (await runTime(onGpu)) < (await runTime(onProcessor)) ? [onGpu, onProcessor] : [onProcessor, onGpu];
  await worse.network.release();
  return better;
}

async function openOn(ort: Runtime, name: string, bytes: Uint8Array, header: Header, provider: Provider): Promise<OpenedNetwork> {
  const executionProviders = provider === "webgpu" ? ["webgpu", "wasm"] : ["wasm"];
  let session: Session;
  try {
    session = await ort.InferenceSession.create(bytes, { executionProviders, logSeverityLevel: 3 });
  } catch (error) {
    throw new UserError(`${name}: ONNX Runtime can't load it (${reasonOf(error)}); export the model again.`);
  }
  try {
    const opened = openSession(ort, name, session, header);
    await tryOut(opened);
    return { ...opened, provider };
  } catch (error) {
    await session.release();
    throw error;
  }
}

function openSession(ort: Runtime, name: string, session: Session, header: Header): AnyNetwork {
  if (session.outputNames.includes(LOCALIZER_OUTPUT)) {
    return { kind: "localizer", network: new OnnxLocalizer(ort, name, session) };
  }
  const network = new OnnxPoseNetwork(ort, name, session); // first, since networks made for something else have no version
  if (!header.isOurs && !KNOWN_VERSIONS.includes(header.modelVersion)) {
    throw new UserError(
      `${name}: model_version ${header.modelVersion}, whose axes differ from today's; versions 2, 3 and 4 are readable.`,
    );
  }
  return { kind: "pose", network };
}

/** Run a network once: what can't be computed is refused before it is used. */
async function tryOut({ kind, network }: AnyNetwork): Promise<void> {
  if (kind === "pose") await network.run(new Float32Array(network.size ** 2));
  else await network.run(new Float32Array(network.width * network.height));
}

/** Milliseconds of the quickest of some runs. */
async function runTime(opened: AnyNetwork): Promise<number> {
  let best = Infinity;
  for (let run = 0; run < TRIALS; run++) {
    const start = performance.now();
    await tryOut(opened);
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n")[0].slice(0, 200);
}

/** Shape of a file's only input; other types and numbers of inputs are refused. */
function inputShape(name: string, session: Session): readonly (number | string)[] {
  const [input] = session.inputMetadata;
  if (session.inputNames.length !== 1 || !input.isTensor || input.type !== "float32") {
    throw new UserError(`${name}: expected one input of float32 images; export the model with scripts/export_model.py.`);
  }
  return input.shape;
}

/** Checks that numbers lie near -1…1 of the image, and are numbers at all. */
function checkPlausible(name: string, output: string, values: Float32Array): void {
  if (!values.every((value) => Math.abs(value) <= FARTHEST)) {
    const found = Array.from(values, (value) => value.toPrecision(3)).join(", ");
    throw new UserError(
      `${name}: output ${output} is ${found}, expected about -1…1 of the image; the model is damaged, or was made for something else.`,
    );
  }
}

class OnnxNetwork {
  constructor(
    protected readonly ort: Runtime,
    readonly name: string,
    protected readonly session: Session,
  ) {}

  /** Outputs of these names for one image, (1, 1, height, width). */
  protected async answer(names: readonly string[], image: Float32Array, height: number, width: number): Promise<Float32Array[]> {
    const tensor = new this.ort.Tensor("float32", image, [1, 1, height, width]);
    let outputs: Awaited<ReturnType<Session["run"]>>;
    try {
      outputs = await this.session.run({ [this.session.inputNames[0]]: tensor }, names);
    } catch (error) {
      throw new UserError(`${this.name}: can't be computed (${reasonOf(error)}).`);
    }
    return Promise.all(
      names.map(async (name) => {
        const values = await outputs[name].getData();
        if (!(values instanceof Float32Array)) throw new UserError(`${this.name}: output ${name} isn't float32.`);
        return values;
      }),
    );
  }

  release(): Promise<void> {
    return this.session.release();
  }
}

export class OnnxPoseNetwork extends OnnxNetwork implements PoseNetwork {
  readonly size: number;
  private readonly fields: readonly Field[];
  private readonly names: readonly string[];

  constructor(ort: Runtime, name: string, session: Session) {
    super(ort, name, session);
    const nameOf = (field: Field) => OUTPUTS[field].names.find((known) => session.outputNames.includes(known));
    for (const field of REQUIRED) {
      if (!nameOf(field)) {
        const found = session.outputNames.join(", ");
        throw new UserError(`${name}: output ${OUTPUTS[field].names.join(" or ")} is missing; found ${found}.`);
      }
    }
    this.fields = (Object.keys(OUTPUTS) as Field[]).filter(nameOf);
    this.names = this.fields.map((field) => nameOf(field) as string);
    const shape = inputShape(name, session);
    const [, channels, height, width] = shape;
    if (shape.length !== 4 || channels !== 1 || typeof height !== "number" || height !== width || !(height > 0 && height <= LARGEST)) {
      throw new UserError(`${name}: input has shape ${shape.join(" × ")}, expected 1 × 1 × H × H, a grey crop.`);
    }
    this.size = height;
  }

  get has(): { landmarks: boolean; deviations: boolean } {
    return { landmarks: this.fields.includes("landmarks"), deviations: this.fields.includes("rotationTril") };
  }

  async run(crop: Float32Array): Promise<PoseAnswer> {
    const values = await this.answer(this.names, crop, this.size, this.size);
    const answer: Partial<Record<Field, Float32Array>> = {};
    this.fields.forEach((field, index) => {
      const found = values[index];
      if (!OUTPUTS[field].sizes.some((size) => size === found.length) || !found.every(Number.isFinite)) {
        throw new UserError(
          `${this.name}: output ${this.names[index]} has ${found.length} numbers, or some that are not finite; the model is damaged or was exported wrongly.`,
        );
      }
      answer[field] = field.endsWith("Tril") && found.length === 3 ? diagonal(found) : found;
    });
    const { rotation, head, faceBox, landmarks, rotationTril, headTril } = answer;
    if (!rotation || !head || !faceBox) throw new Error("required outputs were checked");
    checkPlausible(this.name, "head", head);
    checkPlausible(this.name, "face_box", faceBox);
    const length = Math.hypot(...rotation);
    if (!(Math.abs(length - 1) < 0.1)) {
      throw new UserError(`${this.name}: its rotation ${Array.from(rotation).join(", ")} isn't a unit quaternion.`);
    }
    return { rotation: rotation.map((value) => value / length), head, faceBox, landmarks, rotationTril, headTril };
  }
}

/** Old files have three deviations instead of a factor. */
function diagonal(values: Float32Array): Float32Array {
  const matrix = new Float32Array(9);
  values.forEach((value, index) => (matrix[4 * index] = value));
  return matrix;
}

export class OnnxLocalizer extends OnnxNetwork implements Localizer {
  readonly width = LOCALIZER_WIDTH;
  readonly height = LOCALIZER_HEIGHT;

  constructor(ort: Runtime, name: string, session: Session) {
    super(ort, name, session);
    const wanted = [1, 1, LOCALIZER_HEIGHT, LOCALIZER_WIDTH];
    const shape = inputShape(name, session);
    if (shape.length !== 4 || !wanted.every((size, axis) => typeof shape[axis] !== "number" || shape[axis] === size)) {
      throw new UserError(`${name}: input has shape ${shape.join(" × ")}; a localizer has ${wanted.join(" × ")}.`);
    }
  }

  async run(image: Float32Array): Promise<Float32Array> {
    const [values] = await this.answer([LOCALIZER_OUTPUT], image, this.height, this.width);
    if (values.length !== 5 || Number.isNaN(values[0])) {
      throw new UserError(`${this.name}: output ${LOCALIZER_OUTPUT} isn't five numbers; the model is damaged.`);
    }
    checkPlausible(this.name, LOCALIZER_OUTPUT, values.subarray(1));
    return values;
  }
}
