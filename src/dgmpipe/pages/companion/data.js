// What the page carries: a header in JSON, weights as float32 and images as bytes, both deflated.

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
  return header;
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

async function inflate(base64) {
  const packed = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
