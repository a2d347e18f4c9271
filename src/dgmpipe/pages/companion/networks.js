// The networks of images in evaluation mode, in double precision, one image at a time. A layer lies
// in memory as rows × columns × channels, with a border of zeros where a convolution follows.

const EPSILON = 1e-5; // of torch's batch norm

/** The generator of eq. (5): `logits(z)` and `image(z)` return channels × rows × columns. */
export function makeGenerator(model, prefix = "generator.layers.") {
  const tensor = (name) => model.tensors[prefix + name].data;
  const [channels, height, width] = model.imageShape;
  const [a, b] = [height / 4, width / 4];
  const c0 = model.tensors[`${prefix}1.weight`].shape[0];
  const c1 = model.tensors[`${prefix}4.weight`].shape[0];
  const q = model.latentDim;
  const opening = openingOf(tensor, batchNorm(tensor, "1."), q, c0, a * b);
  const middle = upsampling(tensor("3.weight"), tensor("3.bias"), batchNorm(tensor, "4."), c0, c1);
  const closing = upsampling(tensor("6.weight"), tensor("6.bias"), null, c1, channels);
  const first = new Float64Array((a + 2) * (b + 2) * c0);
  const second = new Float64Array((2 * a + 2) * (2 * b + 2) * c1);
  const pixels = new Float64Array(height * width * channels);
  const opened = new Float64Array(a * b * c0);

  function logits(z) {
    times(Float64Array.from(z), 0, 0, 1, q, opening.weight, opening.bias, opened, 0, 0);
    for (let i = 0; i < a; i++) {
      first.set(opened.subarray(i * b * c0, (i + 1) * b * c0), ((i + 1) * (b + 2) + 1) * c0);
    }
    upsample(first, a, b, c0, middle, second, 1, 0);
    upsample(second, 2 * a, 2 * b, c1, closing, pixels, 0, 1);
    return channels === 1 ? pixels.slice() : channelsFirst(pixels, channels);
  }
  return { latentDim: q, imageShape: model.imageShape, logits, image: (z) => logits(z).map(sigmoid) };
}

/** The encoder of eqs. (27) and (28): of an image the mean and the log variance of eq. (24). */
export function makeEncoder(model) {
  const tensor = (name) => model.tensors[`encoder.${name}`].data;
  const [channels, height, width] = model.imageShape;
  const c1 = model.tensors["encoder.features.0.weight"].shape[0];
  const first = downsampling(tensor("features.0.weight"), tensor("features.0.bias"), null, channels, c1);
  const second = downsampling(tensor("features.2.weight"), tensor("features.2.bias"), null, c1, 2 * c1);
  const [a, b] = [height / 4, width / 4];
  const features = twoConvolutions(first, second, model.imageShape);
  const heads = ["mean", "log_variance"].map((name) => ({
    weight: columnsLast(tensor(`${name}.weight`), model.latentDim, 2 * c1, a * b),
    bias: Float64Array.from(tensor(`${name}.bias`)),
  }));
  return (image) => {
    const h = features(image);
    const [mean, logVariance] = heads.map(({ weight, bias }) => linear(h, weight, bias, 1));
    return { mean, logVariance };
  };
}

/** The judge: of an image the logits of the ten digits and of an image that shows none. */
export function makeJudge(model) {
  const tensor = (name) => model.tensors[name].data;
  const c1 = model.tensors["layers.0.weight"].shape[0];
  const norms = ["layers.1.", "layers.4."].map((name) => batchNorm(tensor, name));
  const first = downsampling(tensor("layers.0.weight"), null, norms[0], 1, c1);
  const second = downsampling(tensor("layers.3.weight"), null, norms[1], c1, 2 * c1);
  const features = twoConvolutions(first, second, [1, 28, 28]);
  const hidden = columnsLast(tensor("layers.6.weight"), 4 * c1, 2 * c1, 49);
  const [hiddenBias, output, outputBias] = ["layers.6.bias", "output.weight", "output.bias"].map((name) =>
    Float64Array.from(tensor(name)),
  );
  return (image) => {
    const h = linear(features(image), hidden, hiddenBias, 0);
    return linear(h, output, outputBias, 1);
  };
}

export function sigmoid(logit) {
  return 1 / (1 + Math.exp(-logit));
}

export function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const total = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / total);
}

// What `times` has found that is not zero, and where.
let values = new Float64Array(0);
let places = new Int32Array(0);

/**
 * Weights times what the `runs` stretches of `length` values from `start` on hold, `stride` apart.
 * After a ReLU most values are zero, and are skipped. Four outputs at once, so that each value is
 * read once for four products. Values below 0 are multiplied by `slope`: 0 is a ReLU, 1 is none. All
 * arrays are Float64Array: of several types a browser makes slower code.
 */
function times(h, start, stride, runs, length, weight, bias, out, outStart, slope) {
  const size = runs * length;
  if (values.length < size) [values, places] = [new Float64Array(size), new Int32Array(size)];
  let found = 0;
  for (let run = 0, k = 0; run < runs; run++) {
    for (let i = start + run * stride; i < start + run * stride + length; i++, k++) {
      if (h[i] === 0) continue;
      values[found] = h[i];
      places[found++] = k;
    }
  }
  const count = bias.length;
  let o = 0;
  for (; o + 4 <= count; o += 4) {
    const row0 = o * size;
    const row1 = row0 + size;
    const row2 = row1 + size;
    const row3 = row2 + size;
    let s0 = bias[o];
    let s1 = bias[o + 1];
    let s2 = bias[o + 2];
    let s3 = bias[o + 3];
    for (let f = 0; f < found; f++) {
      const value = values[f];
      const k = places[f];
      s0 += value * weight[row0 + k];
      s1 += value * weight[row1 + k];
      s2 += value * weight[row2 + k];
      s3 += value * weight[row3 + k];
    }
    out[outStart + o] = s0 < 0 ? slope * s0 : s0;
    out[outStart + o + 1] = s1 < 0 ? slope * s1 : s1;
    out[outStart + o + 2] = s2 < 0 ? slope * s2 : s2;
    out[outStart + o + 3] = s3 < 0 ? slope * s3 : s3;
  }
  for (; o < count; o++) {
    let sum = bias[o];
    for (let f = 0; f < found; f++) sum += values[f] * weight[o * size + places[f]];
    out[outStart + o] = sum < 0 ? slope * sum : sum;
  }
}

function linear(h, weight, bias, slope) {
  const out = new Float64Array(bias.length);
  times(h, 0, 0, 1, h.length, weight, bias, out, 0, slope);
  return out;
}

/** Of a batch norm in evaluation mode the factor and the constant of each channel. */
function batchNorm(tensor, name) {
  const variance = tensor(`${name}running_var`);
  const factor = Float64Array.from(tensor(`${name}weight`), (w, c) => w / Math.sqrt(variance[c] + EPSILON));
  const mean = tensor(`${name}running_mean`);
  const constant = Float64Array.from(tensor(`${name}bias`), (beta, c) => beta - mean[c] * factor[c]);
  return { factor, constant };
}

function normalised(bias, norm, count) {
  return Float64Array.from({ length: count }, (_, c) =>
    norm ? (bias ? bias[c] : 0) * norm.factor[c] + norm.constant[c] : bias[c],
  );
}

/** The linear layer of eq. (5) with its batch norm, its rows in the order of memory. */
function openingOf(tensor, norm, q, channels, places) {
  const [weight, bias] = [new Float64Array(channels * places * q), new Float64Array(channels * places)];
  for (let c = 0; c < channels; c++) {
    for (let place = 0; place < places; place++) {
      const [from, to] = [c * places + place, place * channels + c];
      bias[to] = tensor("0.bias")[from] * norm.factor[c] + norm.constant[c];
      for (let k = 0; k < q; k++) weight[to * q + k] = tensor("0.weight")[from * q + k] * norm.factor[c];
    }
  }
  return { weight, bias };
}

/**
 * A transposed convolution with a 4×4 stencil and stride 2. A pixel of the output sees 2×2 of the
 * input, by weights that depend on whether its row and its column are even: four sets of weights.
 */
function upsampling(weight, bias, norm, from, to) {
  const sets = [];
  for (let parity = 0; parity < 4; parity++) {
    const [py, px] = [parity >> 1, parity & 1];
    const set = new Float64Array(to * 4 * from);
    for (let o = 0, k = 0; o < to; o++) {
      for (let tap = 0; tap < 4; tap++) {
        const [ky, kx] = [3 - py - 2 * (tap >> 1), 3 - px - 2 * (tap & 1)];
        for (let c = 0; c < from; c++, k++) {
          set[k] = weight[((c * to + o) * 4 + ky) * 4 + kx] * (norm ? norm.factor[o] : 1);
        }
      }
    }
    sets.push(set);
  }
  return { sets, bias: normalised(bias, norm, to) };
}

function upsample(h, rows, columns, channels, { sets, bias }, out, border, slope) {
  const stride = (columns + 2) * channels;
  const outColumns = 2 * columns + 2 * border;
  // Set by set, so that its weights stay in the cache.
  sets.forEach((weight, parity) => {
    for (let i = parity >> 1; i < 2 * rows; i += 2) {
      for (let j = parity & 1; j < 2 * columns; j += 2) {
        const start = ((i + 1) >> 1) * stride + ((j + 1) >> 1) * channels;
        const place = ((i + border) * outColumns + j + border) * bias.length;
        times(h, start, stride, 2, 2 * channels, weight, bias, out, place, slope);
      }
    }
  });
}

/** A convolution with a 4×4 stencil and stride 2, its weights in the order of memory. */
function downsampling(weight, bias, norm, from, to) {
  const ordered = new Float64Array(to * 16 * from);
  for (let o = 0, k = 0; o < to; o++) {
    for (let tap = 0; tap < 16; tap++) {
      for (let c = 0; c < from; c++, k++) {
        ordered[k] = weight[(o * from + c) * 16 + tap] * (norm ? norm.factor[o] : 1);
      }
    }
  }
  return { weight: ordered, bias: normalised(bias, norm, to) };
}

function twoConvolutions(first, second, [channels, height, width]) {
  const [c1, c2] = [first.bias.length, second.bias.length];
  const [h, w] = [height / 2, width / 2];
  const input = new Float64Array((height + 2) * (width + 2) * channels);
  const middle = new Float64Array((h + 2) * (w + 2) * c1);
  const out = new Float64Array((h / 2) * (w / 2) * c2);
  const downsample = (from, columns, depth, { weight, bias }, to, border) => {
    const stride = (columns + 2) * depth;
    const rows = from.length / stride / 2 - 1;
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns / 2; j++) {
        const place = ((i + border) * (columns / 2 + 2 * border) + j + border) * bias.length;
        times(from, 2 * i * stride + 2 * j * depth, stride, 4, 4 * depth, weight, bias, to, place, 0);
      }
    }
  };
  return (image) => {
    for (let i = 0, k = 0; i < height; i++) {
      for (let j = 0; j < width; j++) {
        for (let c = 0; c < channels; c++, k++) {
          input[((i + 1) * (width + 2) + j + 1) * channels + c] = image[(c * height + i) * width + j];
        }
      }
    }
    downsample(input, width, channels, first, middle, 1);
    downsample(middle, w, c1, second, out, 0);
    return out;
  };
}

/** Columns of a linear layer from channels × places to places × channels. */
function columnsLast(weight, rows, channels, places) {
  const ordered = new Float64Array(rows * channels * places);
  for (let row = 0, k = 0; row < rows; row++) {
    for (let place = 0; place < places; place++) {
      for (let c = 0; c < channels; c++, k++) ordered[k] = weight[(row * channels + c) * places + place];
    }
  }
  return ordered;
}

function channelsFirst(pixels, channels) {
  const places = pixels.length / channels;
  return Float64Array.from(pixels, (_, k) => pixels[(k % places) * channels + Math.floor(k / places)]);
}
