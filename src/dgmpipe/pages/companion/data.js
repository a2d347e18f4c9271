// What the page carries: a header in JSON, in it weights as float32 and samples, deflated.

/** Return the header, with every tensor as a typed array in the place of its offset and shape. */
export async function unpack() {
  const header = JSON.parse(document.getElementById("header").textContent);
  for (const model of header.models) {
    const floats = joinPlanes(await inflate(model.weights));
    delete model.weights;
    for (const [name, [offset, shape]] of Object.entries(model.tensors)) {
      const size = shape.reduce((a, b) => a * b, 1);
      model.tensors[name] = { shape, data: floats.subarray(offset, offset + size) };
    }
  }
  if (header.images) header.images.pixels = await inflate(header.images.pixels);
  for (const snapshots of header.snapshots) {
    const unpacked = await inflate(snapshots.data);
    snapshots.samples = snapshots.range ? pointsOf(unpacked, snapshots) : imagesOf(unpacked, snapshots);
    delete snapshots.data;
  }
  return header;
}

/** Of each step the images, with values in [0, 1]; the steps of a pixel follow each other. */
function imagesOf(bytes, { levels, shape: [steps, count, ...image] }) {
  const size = image.reduce((a, b) => a * b, 1);
  return Array.from({ length: steps }, (_, step) => Array.from({ length: count }, (_, k) =>
    Float32Array.from({ length: size }, (_, i) => bytes[(k * size + i) * steps + step] / (levels - 1)),
  ));
}

/** Of each step the points. */
function pointsOf(planes, { shape: [steps, count], range: [low, high] }) {
  const size = planes.length / 2;
  const value = (k) => low + ((high - low) * (planes[k] + 256 * planes[size + k])) / 4095;
  return Array.from({ length: steps }, (_, step) => Array.from({ length: count }, (_, k) => {
    const at = 2 * (step * count + k);
    return [value(at), value(at + 1)];
  }));
}

/** Put together floats whose first bytes come first, then their second ones, which deflates better. */
function joinPlanes(planes) {
  const count = planes.length / 4;
  const bytes = new Uint8Array(planes.length);
  for (let k = 0; k < 4; k++) {
    for (let i = 0; i < count; i++) bytes[4 * i + k] = planes[k * count + i];
  }
  return new Float32Array(bytes.buffer);
}

async function inflate(text) {
  const stream = new Blob([fromBase85(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";
const VALUES = new Uint8Array(128);
for (let k = 0; k < 85; k++) VALUES[DIGITS.charCodeAt(k)] = k;

/** Five digits are four bytes, the highest first; at the end a digit more than there are bytes. */
function fromBase85(text) {
  const count = Math.floor((text.length * 4) / 5);
  const bytes = new DataView(new ArrayBuffer(count + 4));
  for (let i = 0, at = 0; i < text.length; i += 5, at += 4) {
    let value = 0;
    // What is missing at the end counts as the highest digit.
    for (let k = i; k < i + 5; k++) value = 85 * value + (k < text.length ? VALUES[text.charCodeAt(k)] : 84);
    bytes.setUint32(at, value);
  }
  return new Uint8Array(bytes.buffer, 0, count);
}
