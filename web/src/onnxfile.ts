/** The few fields of an ONNX file that ONNX Runtime Web doesn't tell: a ModelProto's model_version and metadata keys. */

import { UserError } from "./errors.ts";

const OUR_KEY = "trackertraincode"; // metadata of files that this suite exported
const MODEL_VERSION = 5;
const GRAPH = 7;
const METADATA = 14;
const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED_SIZES = new Map([
  [1, 8],
  [5, 4],
]);

export interface Header {
  readonly modelVersion: number;
  readonly isOurs: boolean;
}

/** Raises UserError for what isn't a whole ONNX file. */
export function readHeader(name: string, bytes: Uint8Array): Header {
  let modelVersion = 0;
  let hasGraph = false;
  let isOurs = false;
  let at = 0;
  const refuse = (): never => {
    throw new UserError(`${name}: ${bytes.length} bytes that are not a whole ONNX model; give an exported .onnx file.`);
  };
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= bytes.length) refuse();
      const byte = bytes[at++];
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    return refuse();
  };
  while (at < bytes.length) {
    const key = varint();
    const [field, wire] = [Math.floor(key / 8), key % 8];
    if (wire === VARINT) {
      const value = varint();
      if (field === MODEL_VERSION) modelVersion = value;
      continue;
    }
    const size = wire === LENGTH_DELIMITED ? varint() : (FIXED_SIZES.get(wire) ?? refuse());
    if (at + size > bytes.length) refuse();
    if (field === GRAPH) hasGraph = true;
    if (field === METADATA) isOurs ||= new TextDecoder().decode(bytes.subarray(at, at + OUR_KEY.length + 2)).endsWith(OUR_KEY);
    at += size;
  }
  if (!hasGraph) refuse();
  return { modelVersion, isOurs };
}
