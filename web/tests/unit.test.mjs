// The page's pure modules answer what the Python tracker answers, bit for bit (tests/reference.py).
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = new URL(".", import.meta.url);
const PYTHON = process.env.PYTHON ?? "python";

/** Modules of src, bundled and imported. */
async function modules(names) {
  const contents = names.map((name) => `export * as ${name} from "./${name}.ts";`).join("\n");
  const stdin = { contents, resolveDir: fileURLToPath(new URL("../src", HERE)), loader: "ts" };
  const { outputFiles } = await build({ stdin, bundle: true, write: false, format: "esm", target: "es2022" });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);
}

const NAMES = [
  "assignment", "calm", "client", "filters", "onnxfile", "openness", "pixels", "pose", "recorder", "rotation", "several", "timing", "tracker", "view",
]; // prettier-ignore
const { assignment, calm, client, filters, onnxfile, openness, pixels, pose, recorder, rotation, several, timing, tracker, view } = await modules(NAMES);
const script = fileURLToPath(new URL("reference.py", HERE));
const reference = JSON.parse(execFileSync(PYTHON, [script], { maxBuffer: 1 << 30 }));

const bytes = ({ data }) => new Uint8Array(Buffer.from(data, "base64"));
const floats = (packed, Kind = Float32Array) => new Kind(bytes(packed).buffer);
const plane = (packed) => ({ height: packed.shape[0], width: packed.shape[1], channels: packed.shape[2] ?? 1, data: bytes(packed) });
const box = ([x, y, width, height]) => ({ x, y, width, height });

/** Equal numbers; much quicker than deepEqual where arrays are long. */
function assertSame(found, expected, what) {
  assert.equal(found.length, expected.length, what);
  const wrong = found.findIndex((value, index) => value !== expected[index]);
  assert.equal(wrong, -1, `${what}: at ${wrong} ${found[wrong]}, expected ${expected[wrong]}`);
}

/** Equal but for the last digits, which depend on the order of sums. */
function assertNear(found, expected, what) {
  assert.equal(found.length, expected.length, what);
  const wrong = found.findIndex((value, index) => !(Math.abs(value - expected[index]) <= 1e-7 * (1 + Math.abs(expected[index]))));
  assert.equal(wrong, -1, `${what}: at ${wrong} ${found[wrong]}, expected ${expected[wrong]}`);
}

/** What is seen of a frame: the image, and where it begins. shift: by which the frame is rolled to the right. */
function partOf(packed, shift = 0) {
  const frame = plane(packed);
  const part = view.partSeen(frame.width, frame.height, false);
  const data = new Uint8Array(part.width * part.height * 3);
  const start = (part.x - shift + 10 * frame.width) % frame.width;
  const before = Math.min(part.width, frame.width - start); // columns up to where the frame is joined
  for (let y = 0; y < part.height; y++) {
    const row = frame.data.subarray((y + part.y) * frame.width * 3, (y + part.y + 1) * frame.width * 3);
    data.set(row.subarray(start * 3, (start + before) * 3), y * part.width * 3);
    data.set(row.subarray(0, (part.width - before) * 3), (y * part.width + before) * 3);
  }
  return { image: { width: part.width, height: part.height, channels: 3, data }, x: part.x, y: part.y };
}

function viewOf(packed, shift) {
  const { image, x, y } = partOf(packed, shift);
  return view.lookAt(image, x, y, reference.fov);
}

/** Networks that answer as Python's did, and keep what they are given. */
function standIns({ network, localizer, crops, nothing }) {
  const given = { network: [], localizer: [] };
  const answerOf = ({ rotation, head, face_box, landmarks, rotation_tril, head_tril }) => ({
    rotation: floats(rotation),
    head: floats(head),
    faceBox: floats(face_box),
    landmarks: landmarks && floats(landmarks),
    rotationTril: rotation_tril && floats(rotation_tril),
    headTril: head_tril && floats(head_tril),
  });
  const run = async (crop) => answerOf(crop.every((value) => value === crop[0]) ? nothing : network[given.network.push(crop) - 1]);
  const find = async (image) => floats(localizer[given.localizer.push(image) - 1]);
  return { given, network: { size: crops.shape.at(-1), run }, finder: { width: 288, height: 224, run: find } };
}

function joined(arrays) {
  const all = new Float32Array(arrays.reduce((count, array) => count + array.length, 0));
  arrays.reduce((start, array) => (all.set(array, start), start + array.length), 0);
  return all;
}

function assertSameInputs(given, { crops, images }) {
  assertSame(joined(given.network), floats(crops), "crops");
  const pixels = joined(given.localizer);
  const kept = Array.from(floats(images), (_, index) => pixels[index * reference.imageStep]);
  assert.equal(kept.length, Math.ceil(pixels.length / reference.imageStep), "pixels for the localizer");
  assertSame(kept, floats(images), "images for the localizer");
}

test("colours become the grey levels of OpenCV", () => {
  const [colours, grey] = reference.pixels.grey;
  assertSame(pixels.toGrey(plane(colours)).data, bytes(grey), "grey");
});

test("images are halved as by cv2.pyrDown", () => {
  for (const [image, half] of reference.pixels.halve) {
    assertSame(pixels.halve(plane(image)).data, bytes(half), `half of ${image.shape}`);
  }
});

test("images are resized as by cv2.resize with INTER_AREA", () => {
  for (const [image, resized] of reference.pixels.resize) {
    const [height, width] = resized.shape;
    assertSame(pixels.resizeArea(plane(image), width, height).data, bytes(resized), `${image.shape} to ${resized.shape}`);
  }
});

test("crops are those of the Python client", () => {
  for (const { frame, corner, view, cases } of reference.patches) {
    const seen = partOf(frame);
    assert.deepEqual([seen.x, seen.y, seen.image.height, seen.image.width], [...corner, ...view]);
    const pyramid = new client.Pyramid(seen.image);
    for (const wanted of cases) {
      const patch = client.extractPatch(pyramid, box(wanted.box), wanted.size);
      assert.deepEqual([patch.centerX, patch.centerY, patch.edge], wanted.place);
      assertSame(client.networkInput(patch, wanted.size), floats(wanted.crop), `box ${wanted.box} of ${frame.shape}`);
    }
  }
});

test("boxes, positions and angles are those of the Python client", () => {
  for (const wanted of reference.boxes) {
    const [width, height] = wanted.size;
    const [centerX, centerY, edge] = wanted.patch;
    const patch = { centerX, centerY, edge };
    const predicted = client.predictedBox(patch, wanted.box);
    assert.deepEqual(predicted, box(wanted.predicted));
    assert.deepEqual(client.nextBox(box(wanted.a), predicted), box(wanted.next));
    assert.equal(client.overlap(box(wanted.a), box(wanted.b)), wanted.overlap);
    assert.equal(client.hasUsableSize(box(wanted.a), width, height), wanted.usable);
    assert.equal(client.touches(box(wanted.a), width, height), wanted.touches);
    assert.deepEqual(client.toFrame(patch, wanted.head), wanted.frameHead);
    assertNear(client.worldPosition(wanted.frameHead, width, height, reference.fov), wanted.position, "position");
    assertNear(rotation.aflwDegrees(wanted.quat), wanted.degrees, "degrees");
  }
});

test("the tracker looks where the Python tracker looks, frame by frame", async () => {
  for (const sequence of reference.sequences) {
    const { given, network, finder } = standIns(sequence);
    const own = new tracker.HeadPoseTracker(network, finder);
    for (const [index, wanted] of sequence.poses.entries()) {
      const found = await own.update(viewOf(sequence.frame, 3 * index));
      assert.equal(found === null, wanted === null, `frame ${index}`);
      if (!found) continue;
      for (const key of ["rotation", "head", "box"]) assertSame([...found[key]], wanted[key], `${key} of frame ${index}`);
      assertSame(pose.deviationsOf(found), wanted.deviations, `deviations of frame ${index}`);
      assertNear(pose.degreesOf(found), wanted.degrees, `degrees of frame ${index}`);
      assertNear(pose.positionOf(found), wanted.positionMm, `position of frame ${index}`);
      assertNear(pose.covarianceOf(found).flat(), floats(wanted.covariance, Float64Array), `covariance of frame ${index}`);
      assertNear(openness.openness(found.landmarks, found.rotation), wanted.openness, `openness of frame ${index}`);
      assertSame(found.landmarks, floats(wanted.landmarks, Float64Array), `landmarks of frame ${index}`);
    }
    assertSameInputs(given, sequence);
  }
});

test("several heads are found, followed, lost and known again as in Python, frame by frame", async () => {
  const { given, network, finder } = standIns(reference.several);
  const own = new several.SeveralHeads(network, finder, reference.several.faces);
  for (const [index, wanted] of reference.several.heads.entries()) {
    const found = await own.update(viewOf(reference.several.frame, 3 * index));
    assert.deepEqual(found.map(([number, { head, box }]) => [number, [...head], [...box]]), wanted, `frame ${index}`);
  }
  assertSameInputs(given, reference.several);
});

test("people and heads are paired as in Python", () => {
  for (const { costs, pairs } of reference.assignments) {
    assert.deepEqual(assignment.assign(costs.map((row) => row.map((cost) => cost ?? Infinity))), pairs);
  }
});

test("each filter makes poses as calm as in Python, through jerks and gaps, whether or not the network says how unsure it is", () => {
  for (const { name, rows } of reference.calm) {
    const own = new calm.CalmPose(name);
    for (const [index, { seconds, calm: wanted, position, ...given }] of rows.entries()) {
      const measured = {
        rotation: [...floats(given.rotation)],
        head: [...floats(given.head)],
        box: [...floats(given.box)],
        camera: { x: 0, y: 0, width: 640, height: 480, diagonalFov: reference.fov },
        landmarks: floats(given.landmarks, Float64Array),
        rotationTril: given.rotation_tril && floats(given.rotation_tril),
        headTril: given.head_tril && floats(given.head_tril),
      };
      const found = own.update(measured, seconds);
      for (const key of ["rotation", "head", "box", "landmarks"]) assertNear([...found[key]], wanted[key], `${name}: ${key} of frame ${index}`);
      assertNear(pose.positionOf(found), position, `${name}: position of frame ${index}`);
    }
  }
});

test("there are Python's filters, and its default", () => {
  assert.deepEqual([Object.keys(filters.FILTERS), filters.DEFAULT], [reference.filters, reference.filter]);
});

test("what is no ONNX model is named", () => {
  const junk = new TextEncoder().encode("a letter to somebody");
  for (const wrong of [new Uint8Array(), junk, new Uint8Array(100).fill(255), new Uint8Array([8, 10, 58, 100, 0])]) {
    assert.throws(() => onnxfile.readHeader("a.onnx", wrong), /a\.onnx: \d+ bytes that are not a whole ONNX model/);
  }
});

test("version and origin of a model are read", () => {
  const metadata = [0x72, 18, 0x0a, 16, ...new TextEncoder().encode("trackertraincode")];
  assert.deepEqual(onnxfile.readHeader("a", new Uint8Array([8, 10, 40, 3, 58, 0])), { modelVersion: 3, isOurs: false });
  assert.deepEqual(onnxfile.readHeader("a", new Uint8Array([...metadata, 58, 0])), { modelVersion: 0, isOurs: true });
});

test("rows have the columns of Python's, one for each head, and for a frame without any", async () => {
  const camera = { x: 0, y: 0, width: 640, height: 480, diagonalFov: 1 };
  const plain = { rotation: [0, 0, 0, 1], head: [4, 5, 6], box: [0, 1, 2, 3], camera };
  const full = { ...plain, rotationTril: new Float32Array(9).fill(0.1), landmarks: Float64Array.from({ length: 204 }, (_, index) => index) };
  const own = new recorder.Recorder();
  own.add(0, 0, [[1, plain]], 1); // not recording yet
  own.start();
  own.add(1, 0.5, [[2, plain], [3, full]], 12.345);
  own.add(2, 0.6, [], 10);
  const [head, first, second, third, end] = (await own.csv().text()).split("\r\n").map((line) => line.split(","));
  assert.deepEqual(head, [...reference.columns, "latency_ms"]);
  assert.deepEqual([first.length, second.length, third.length, end], [head.length, head.length, head.length, [""]]);
  const value = (name) => first[head.indexOf(name)];
  const names = ["frame", "time", "face", "id", "yaw", "qw", "radius", "std_x", "mouth", "latency_ms"];
  assert.deepEqual(names.map(value), ["000001", "0.500000", "True", "2", "0", "1", "6", "", "", "12.35"]);
  assert.deepEqual(second.slice(0, 4), ["000001", "0.500000", "True", "3"]);
  assert.ok(!second.includes(""));
  assert.deepEqual(third.slice(2, -1), ["False", ...Array(head.length - 4).fill("")]);
});

test("frame rate and latency are those of the last frames", () => {
  const own = new timing.Timing();
  assert.deepEqual([own.fps, own.quantile(0.5)], [0, 0]);
  for (let frame = 0; frame < 1000; frame++) own.add(frame * 20, frame < 900 ? 500 : frame % 2 ? 10 : 12);
  assert.equal(own.fps, 50);
  assert.equal(own.quantile(0.99), 500);
  for (let frame = 0; frame < 300; frame++) own.add(20_000 + frame * 50, frame === 7 ? 99 : 11);
  assert.deepEqual([own.fps, own.quantile(0.5), own.quantile(0.99)], [20, 11, 11]);
  assert.equal(own.text, "11, 99 %: 11");
});
