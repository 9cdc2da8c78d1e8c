/** What OpenCV does to pixels, bit for bit, without Intel's IPP.
 *
 *   RGBA --rgbPlane--> colours --halve--> ... --toGrey--> grey --cutSquare--> square --resizeArea--> what a network sees
 */

/** Rows of interleaved channels. */
export interface Plane {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3;
  readonly data: Uint8Array; // height × width × channels
}

function plane(width: number, height: number, channels: 1 | 3): Plane {
  return { width, height, channels, data: new Uint8Array(width * height * channels) };
}

/** An image in the middle of a larger one, whose margins repeat its border; as cv2.copyMakeBorder with BORDER_REPLICATE. */
export function withMargins(image: Plane, left: number, top: number, width: number, height: number): Plane {
  if (image.width === width && image.height === height) return image;
  const result = plane(width, height, 1);
  const inside = (value: number, size: number) => Math.min(Math.max(value, 0), size - 1);
  for (let y = 0, place = 0; y < height; y++) {
    const row = inside(y - top, image.height) * image.width;
    for (let x = 0; x < width; x++) result.data[place++] = image.data[row + inside(x - left, image.width)];
  }
  return result;
}

/** The nearest whole number, halves to the even one. */
export function roundEven(value: number): number {
  const low = Math.floor(value);
  const part = value - low;
  if (part !== 0.5) return part < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}

/** Pixels of a canvas, without their opacity. */
export function rgbPlane(rgba: Uint8Array | Uint8ClampedArray, width: number, height: number): Plane {
  const out = plane(width, height, 3);
  const count = width * height;
  for (let i = 0, to = 0, from = 0; i < count; i++, to += 3, from += 4) {
    out.data[to] = rgba[from];
    out.data[to + 1] = rgba[from + 1];
    out.data[to + 2] = rgba[from + 2];
  }
  return out;
}

/** Grey levels of a plane; itself where it is grey. */
export function toGrey(image: Plane): Plane {
  if (image.channels === 1) return image;
  const out = plane(image.width, image.height, 1);
  const source = image.data;
  for (let i = 0, from = 0; i < out.data.length; i++, from += 3) {
    out.data[i] = (source[from] * 9798 + source[from + 1] * 19235 + source[from + 2] * 3735 + 16384) >> 15;
  }
  return out;
}

/** Index into `length` values that are mirrored about the first and the last one. */
function mirrored(index: number, length: number): number {
  if (length === 1) return 0;
  let at = index;
  while (at < 0 || at >= length) at = at < 0 ? -at : 2 * length - 2 - at;
  return at;
}

/** Half the size, smoothed by 1 4 6 4 1 in both directions: cv2.pyrDown. */
export function halve(image: Plane): Plane {
  const out = plane((image.width + 1) >> 1, (image.height + 1) >> 1, image.channels);
  const length = out.width * image.channels;
  const rows = Array.from({ length: 5 }, () => new Int32Array(length)); // smoothed and halved from left to right
  const held = new Int32Array(5).fill(-1); // which row of the image
  const smoothed = (y: number): Int32Array => {
    const place = y % 5; // five rows that follow each other have places of their own
    if (held[place] !== y) smoothRow(image, y, rows[place]);
    held[place] = y;
    return rows[place];
  };
  for (let y = 0; y < out.height; y++) {
    const near = (offset: number) => smoothed(mirrored(2 * y + offset, image.height));
    const [a, b, m, d, e] = [near(-2), near(-1), near(0), near(1), near(2)];
    const to = out.data.subarray(y * length, (y + 1) * length);
    for (let i = 0; i < length; i++) to[i] = (a[i] + e[i] + 4 * (b[i] + d[i]) + 6 * m[i] + 128) >> 8;
  }
  return out;
}

/** 1 4 6 4 1 about every second pixel of a row. */
function smoothRow(image: Plane, y: number, row: Int32Array): void {
  const { channels, width } = image;
  const data = image.data.subarray(y * width * channels, (y + 1) * width * channels);
  const columns = row.length / channels;
  const inner = Math.floor((width - 3) / 2); // the last column whose neighbours are all there
  const edge = (x: number) => {
    for (let c = 0; c < channels; c++) {
      const near = (offset: number) => data[mirrored(2 * x + offset, width) * channels + c];
      row[x * channels + c] = near(-2) + near(2) + 4 * (near(-1) + near(1)) + 6 * near(0);
    }
  };
  edge(0);
  for (let x = Math.max(1, inner + 1); x < columns; x++) edge(x);
  const [one, two] = [channels, 2 * channels];
  for (let x = 1; x <= inner; x++) {
    for (let c = 0; c < channels; c++) {
      const at = 2 * x * channels + c;
      row[x * channels + c] = data[at - two] + data[at + two] + 4 * (data[at - one] + data[at + one]) + 6 * data[at];
    }
  }
}

/** A square of `edge` pixels about a centre that lies on halves of pixels, edges repeated: cv2.getRectSubPix. */
export function cutSquare(image: Plane, edge: number, centerX: number, centerY: number): Plane {
  const out = plane(edge, edge, 1);
  const { width, height, data } = image;
  const startX = centerX - (edge - 1) * 0.5;
  const startY = centerY - (edge - 1) * 0.5;
  const left = Math.floor(startX);
  const top = Math.floor(startY);
  const stepX = startX > left ? 1 : 0; // halves average two neighbours
  const stepY = startY > top ? 1 : 0;
  const clamp = (value: number, length: number) => Math.min(Math.max(value, 0), length - 1);
  const columns = new Int32Array(edge + 1);
  for (let x = 0; x <= edge; x++) columns[x] = clamp(left + x, width);
  for (let y = 0; y < edge; y++) {
    const first = clamp(top + y, height) * width;
    const second = clamp(top + y + stepY, height) * width;
    for (let x = 0; x < edge; x++) {
      const near = columns[x];
      const next = columns[x + stepX];
      out.data[y * edge + x] = (data[first + near] + data[first + next] + data[second + near] + data[second + next] + 2) >> 2;
    }
  }
  return out;
}

/** Grey levels in another size: cv2.resize with INTER_AREA. */
export function resizeArea(image: Plane, width: number, height: number): Plane {
  if (image.width === width && image.height === height) return image;
  const scaleX = 1 / (width / image.width); // as OpenCV computes it, rounded twice
  const scaleY = 1 / (height / image.height);
  if (scaleX < 1 || scaleY < 1) return enlarge(image, width, height, scaleX, scaleY);
  const [wholeX, wholeY] = [roundEven(scaleX), roundEven(scaleY)];
  const isWhole = Math.abs(scaleX - wholeX) < Number.EPSILON && Math.abs(scaleY - wholeY) < Number.EPSILON;
  return isWhole ? averageBlocks(image, width, height, wholeX, wholeY) : averageAreas(image, width, height, scaleX, scaleY);
}

function averageBlocks(image: Plane, width: number, height: number, wide: number, high: number): Plane {
  const out = plane(width, height, 1);
  const share = Math.fround(1 / (wide * high));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let v = 0; v < high; v++) {
        const start = (y * high + v) * image.width + x * wide;
        for (let u = 0; u < wide; u++) sum += image.data[start + u];
      }
      out.data[y * width + x] = wide === 2 && high === 2 ? (sum + 2) >> 2 : roundEven(Math.fround(sum * share));
    }
  }
  return out;
}

/** Which source pixels enter which pixel of the result, and with which weight. */
interface Shares {
  readonly from: number[];
  readonly to: number[];
  readonly weight: number[]; // float32
}

function areaShares(length: number, wanted: number, scale: number): Shares {
  const shares: Shares = { from: [], to: [], weight: [] };
  const add = (from: number, to: number, weight: number) => {
    shares.from.push(from);
    shares.to.push(to);
    shares.weight.push(Math.fround(weight));
  };
  for (let to = 0; to < wanted; to++) {
    const begin = to * scale;
    const end = begin + scale;
    const cell = Math.min(scale, length - begin);
    const last = Math.min(Math.floor(end), length - 1);
    const first = Math.min(Math.ceil(begin), last);
    if (first - begin > 1e-3) add(first - 1, to, (first - begin) / cell);
    for (let from = first; from < last; from++) add(from, to, 1 / cell);
    if (end - last > 1e-3) add(last, to, Math.min(end - last, 1, cell) / cell);
  }
  return shares;
}

function averageAreas(image: Plane, width: number, height: number, scaleX: number, scaleY: number): Plane {
  const out = plane(width, height, 1);
  const across = areaShares(image.width, width, scaleX);
  const down = areaShares(image.height, height, scaleY);
  const [from, to, weight] = [Int32Array.from(across.from), Int32Array.from(across.to), Float32Array.from(across.weight)];
  const row = new Float32Array(width);
  const sum = new Float32Array(width);
  const store = (y: number) => {
    for (let x = 0; x < width; x++) out.data[y * width + x] = roundEven(sum[x]);
  };
  let line = 0;
  for (let k = 0; k < down.from.length; k++) {
    if (down.to[k] !== line) {
      store(line);
      sum.fill(0);
      line = down.to[k];
    }
    row.fill(0);
    const start = down.from[k] * image.width;
    for (let i = 0; i < from.length; i++) row[to[i]] += Math.fround(image.data[start + from[i]] * weight[i]);
    const share = down.weight[k];
    for (let x = 0; x < width; x++) sum[x] += Math.fround(share * row[x]);
  }
  store(line);
  return out;
}

/** Position of the first of two neighbours, and the second one's weight in 1/2048. */
function neighbours(length: number, wanted: number, scale: number): { at: Int32Array; weight: Int32Array; first: Int32Array } {
  const at = new Int32Array(wanted);
  const weight = new Int32Array(wanted);
  const first = new Int32Array(wanted);
  const inverse = wanted / length;
  for (let i = 0; i < wanted; i++) {
    at[i] = Math.floor(i * scale);
    const part = Math.fround(i + 1 - (at[i] + 1) * inverse);
    let share = part <= 0 ? 0 : Math.fround(part - Math.floor(part));
    if (at[i] >= length - 1) {
      at[i] = length - 1;
      share = 0;
    }
    weight[i] = roundEven(share * 2048);
    first[i] = roundEven(Math.fround(1 - share) * 2048);
  }
  return { at, weight, first };
}

function enlarge(image: Plane, width: number, height: number, scaleX: number, scaleY: number): Plane {
  const out = plane(width, height, 1);
  const columns = neighbours(image.width, width, scaleX);
  const rows = neighbours(image.height, height, scaleY);
  const widened = (y: number): Int32Array => {
    const row = new Int32Array(width);
    const start = Math.min(y, image.height - 1) * image.width;
    for (let x = 0; x < width; x++) {
      const at = columns.at[x];
      const next = Math.min(at + 1, image.width - 1);
      row[x] = image.data[start + at] * columns.first[x] + image.data[start + next] * columns.weight[x];
    }
    return row;
  };
  for (let y = 0; y < height; y++) {
    const [upper, lower] = [widened(rows.at[y]), widened(rows.at[y] + 1)];
    const [first, second] = [rows.first[y], rows.weight[y]];
    for (let x = 0; x < width; x++) {
      out.data[y * width + x] = (((first * (upper[x] >> 4)) >> 16) + ((second * (lower[x] >> 4)) >> 16) + 2) >> 2;
    }
  }
  return out;
}
