// The flows of Section 3, point by point in double precision, and the density of the moons.

const LOG_2PI = Math.log(2 * Math.PI);
const SIXTHS = [1, 2, 2, 1];
const NODES = [0, 0.5, 0.5, 1];

/** A flow: `forward(z)` and `inverse(x)` return {point, logDet}, `states(z)` the way from z to x. */
export function makeFlow(model) {
  const make = { realnvp: makeRealNVP, otflow: makeOTFlow }[model.kind];
  const flow = model.standardised ? standardised(model, make) : make(model, "");
  flow.logProb = (x, steps) => {
    const { point, logDet } = flow.inverse(x, steps);
    return -0.5 * (point[0] ** 2 + point[1] ** 2) - LOG_2PI + logDet;
  };
  return flow;
}

/** A flow of points with mean 0 and deviation 1, followed by the map to those of the data. */
function standardised(model, make) {
  const flow = make(model, "flow.");
  const [mean, deviation] = [model.tensors.mean.data, model.tensors.deviation.data];
  const out = (y) => [mean[0] + deviation[0] * y[0], mean[1] + deviation[1] * y[1]];
  const back = (x) => [(x[0] - mean[0]) / deviation[0], (x[1] - mean[1]) / deviation[1]];
  const logDet = Math.log(deviation[0]) + Math.log(deviation[1]);
  return {
    ...flow,
    forward(z, steps) {
      const end = flow.forward(z, steps);
      return { point: out(end.point), logDet: end.logDet + logDet };
    },
    inverse(x, steps) {
      const end = flow.inverse(back(x), steps);
      return { ...end, logDet: end.logDet - logDet };
    },
    states: (z) => {
      const states = flow.states(z);
      return [...states, out(states[states.length - 1])];
    },
  };
}

/** Real NVP, eqs. (9)-(13): layers that transform one coordinate as the other one says. */
function makeRealNVP(model, prefix) {
  const layers = [];
  for (let j = 0; `${prefix}layers.${j}.opening.weight` in model.tensors; j++) {
    layers.push(coupling(model, `${prefix}layers.${j}.`, (j + 1) % 2));
  }
  const step = (y, layer, reverse) => {
    const { s, t } = layer.scaleAndShift(y);
    const moved = 1 - layer.kept;
    const next = y.slice();
    next[moved] = reverse ? (y[moved] - t) * Math.exp(-s) : y[moved] * Math.exp(s) + t;
    return [next, s];
  };
  const run = (start, order, reverse) => {
    let [point, total] = [start, 0];
    for (const layer of order) {
      const [next, s] = step(point, layer, reverse);
      [point, total] = [next, total + s];
    }
    return { point, logDet: reverse ? -total : total };
  };
  const backward = [...layers].reverse();
  return {
    numStates: layers.length,
    forward: (z) => run(z, layers, false),
    inverse: (x) => run(x, backward, true),
    states(z) {
      const states = [z];
      for (const layer of layers) states.push(step(states[states.length - 1], layer, false)[0]);
      return states;
    },
  };
}

/** The networks s and t of a layer: what they see and what counts of them is one coordinate. */
function coupling(model, prefix, kept) {
  const tensor = (name) => model.tensors[prefix + name].data;
  const width = model.tensors[`${prefix}hidden.bias`].shape[2];
  const networks = [0, 1].map((net) => {
    const pick = (name, from, step) =>
      Float64Array.from({ length: width }, (_, k) => tensor(name)[from + step * k]);
    const hidden = new Float64Array(width * width);
    for (let i = 0; i < width; i++) {
      for (let o = 0; o < width; o++) {
        hidden[o * width + i] = tensor("hidden.weight")[(net * width + i) * width + o];
      }
    }
    return {
      opening: pick("opening.weight", (2 * net + kept) * width, 1),
      openingBias: pick("opening.bias", net * width, 1),
      hidden,
      hiddenBias: pick("hidden.bias", net * width, 1),
      closing: pick("closing.weight", 2 * net * width + 1 - kept, 2),
      closingBias: tensor("closing.bias")[2 * net + 1 - kept],
    };
  });
  const first = new Float64Array(width);
  const value = (net, y) => {
    for (let k = 0; k < width; k++) first[k] = leaky(net.opening[k] * y + net.openingBias[k]);
    let sum = net.closingBias;
    for (let o = 0, at = 0; o < width; o++) {
      let h = net.hiddenBias[o];
      for (let k = 0; k < width; k++, at++) h += net.hidden[at] * first[k];
      sum += net.closing[o] * leaky(h);
    }
    return Math.tanh(sum);
  };
  return {
    kept,
    scaleAndShift: (y) => ({ s: value(networks[0], y[kept]), t: value(networks[1], y[kept]) }),
  };
}

function leaky(h) {
  return h < 0 ? 0.01 * h : h;
}

/** OT-Flow, eqs. (14)-(16): characteristics of a potential by Runge-Kutta steps of order 4. */
function makeOTFlow(model, prefix) {
  const rates = potential(model, `${prefix}potential.`);
  const own = model.rk4Steps;
  function* follow(y, reverse, steps) {
    const h = (reverse ? -1 : 1) / steps;
    let [point, t, logDet, transport] = [y, reverse ? 1 : 0, 0, 0];
    yield { point, logDet, transport };
    for (let step = 0; step < steps; step++) {
      let before = [0, 0];
      const mean = [0, 0];
      for (let stage = 0; stage < 4; stage++) {
        const node = NODES[stage];
        const at = [point[0] - node * h * before[0], point[1] - node * h * before[1], t + node * h];
        const { gradient, laplacian } = rates(at);
        const count = SIXTHS[stage] / 6;
        before = gradient;
        mean[0] += count * gradient[0];
        mean[1] += count * gradient[1];
        logDet -= h * count * laplacian;
        transport += Math.abs(h) * count * 0.5 * (gradient[0] ** 2 + gradient[1] ** 2);
      }
      point = [point[0] - h * mean[0], point[1] - h * mean[1]];
      t += h;
      yield { point, logDet, transport };
    }
  }
  const last = (path) => path[path.length - 1];
  return {
    numStates: own,
    continuous: true,
    forward: (z, steps = own) => last([...follow(z, false, steps)]),
    inverse: (x, steps = own) => last([...follow(x, true, steps)]),
    states: (z) => Array.from(follow(z, false, own), (state) => state.point),
  };
}

/** Gradient and Laplacian of Φ(s) = wᵀN(s) + ½ sᵀAᵀA s + bᵀs for s = (y, t), arXiv:2006.00104. */
function potential(model, prefix) {
  const tensor = (name) => Float64Array.from(model.tensors[prefix + name].data);
  const [K0, k0] = [tensor("opening.weight"), tensor("opening.bias")];
  const [K1, k1] = [tensor("residual.weight"), tensor("residual.bias")];
  const [w, A, b] = [tensor("w"), tensor("A"), tensor("b")];
  const width = w.length;
  const square = new Float64Array(9);
  let trace = 0;
  for (let row = 0; row < A.length; row += 3) {
    for (let i = 0; i < 3; i++) {
      for (let j = 0; j < 3; j++) square[3 * i + j] += A[row + i] * A[row + j];
    }
    trace += A[row] ** 2 + A[row + 1] ** 2;
  }
  const [first, u, byU] = [0, 1, 2].map(() => new Float64Array(width));
  return (s) => {
    for (let i = 0; i < width; i++) {
      const p = K0[3 * i] * s[0] + K0[3 * i + 1] * s[1] + K0[3 * i + 2] * s[2] + k0[i];
      first[i] = Math.tanh(p);
      u[i] = Math.abs(p) + Math.log1p(Math.exp(-2 * Math.abs(p))); // log(eᵖ + e⁻ᵖ)
      byU[i] = w[i];
    }
    let laplacian = trace;
    for (let j = 0; j < width; j++) {
      let [p, dx, dy] = [k1[j], 0, 0];
      for (let i = 0; i < width; i++) {
        const weight = K1[j * width + i];
        p += weight * u[i];
        dx += weight * first[i] * K0[3 * i];
        dy += weight * first[i] * K0[3 * i + 1];
      }
      const second = Math.tanh(p);
      laplacian += (dx * dx + dy * dy) * (1 - second * second) * w[j];
      for (let i = 0; i < width; i++) byU[i] += second * w[j] * K1[j * width + i];
    }
    const gradient = [0, 1, 2].map((d) => b[d] + square[3 * d] * s[0] + square[3 * d + 1] * s[1] + square[3 * d + 2] * s[2]);
    for (let i = 0; i < width; i++) {
      const factor = first[i] * byU[i];
      for (let d = 0; d < 3; d++) gradient[d] += factor * K0[3 * i + d];
      laplacian += byU[i] * (1 - first[i] ** 2) * (K0[3 * i] ** 2 + K0[3 * i + 1] ** 2);
    }
    return { gradient, laplacian };
  };
}

/** log p(x) of the two moons: uniform on two half circles, convolved with N(0, noise² I). */
export function moonsLogProb(x, noise) {
  const outer = logHalfCircle(x[0], x[1], noise);
  const inner = logHalfCircle(1 - x[0], 0.5 - x[1], noise);
  const largest = Math.max(outer, inner);
  return largest + Math.log(Math.exp(outer - largest) + Math.exp(inner - largest)) - Math.log(2);
}

/**
 * The same quadrature as in `dgmpipe.data.moons`: two pieces of the half circle from its nearest
 * point on, or from both ends of it if the point is below; each as far as the integrand matters.
 */
function logHalfCircle(x, y, noise) {
  const kappa = Math.hypot(x, y) / noise ** 2;
  const polar = Math.atan2(y, x);
  const above = y >= 0;
  const [angle, rest] = [Math.abs(polar), Math.PI - Math.abs(polar)];
  const nearest = above ? polar : x < 0 ? Math.PI : 0;
  const pieces = above
    ? [[polar, -1, 0, angle, 0], [polar, 1, 0, rest, 0]]
    : [[0, 1, angle, rest, x < 0 ? 2 * x : 0], [Math.PI, -1, rest, angle, x < 0 ? 0 : -2 * x]];
  let total = 0;
  for (const [begin, sign, start, length, gap] of pieces) {
    const half = halfWindow(kappa, start, length);
    const along = x * Math.cos(begin) + y * Math.sin(begin);
    const across = above ? 0 : y * Math.cos(begin) - x * Math.sin(begin);
    for (const [node, weight] of LEGENDRE) {
      const h = (sign * half * (1 + node)) / 2;
      const rise = 2 * Math.sin(h) * (across * Math.cos(h) - along * Math.sin(h));
      total += half * weight * Math.exp((gap + rise) / noise ** 2);
    }
  }
  const square = (x - Math.cos(nearest)) ** 2 + (y - Math.sin(nearest)) ** 2;
  return Math.log(total / Math.PI) - square / (2 * noise ** 2) - LOG_2PI - 2 * Math.log(noise);
}

/** Half the range after which exp(κ cos u), falling from `start` on, adds nothing. */
function halfWindow(kappa, start, length) {
  const drop = 40 / kappa;
  const discriminant = Math.sin(start) ** 2 + drop * (2 * Math.cos(start) - drop);
  const half = Math.atan(drop / (Math.sin(start) + Math.sqrt(Math.max(discriminant, 0))));
  return Math.min(half, length / 2);
}

/** Nodes and weights of the Gauss-Legendre quadrature on [−1, 1], by Newton's method. */
const LEGENDRE = Array.from({ length: 32 }, (_, k) => {
  let node = Math.cos((Math.PI * (k + 0.75)) / 32.5);
  let slope = 0;
  for (let iteration = 0; iteration < 8; iteration++) {
    let [before, value] = [1, node];
    for (let n = 2; n <= 32; n++) [before, value] = [value, ((2 * n - 1) * node * value - (n - 1) * before) / n];
    slope = (32 * (node * value - before)) / (node ** 2 - 1);
    node -= value / slope;
  }
  return [node, 2 / ((1 - node ** 2) * slope ** 2)];
});
