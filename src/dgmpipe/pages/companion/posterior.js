// Part 2: the posterior of an image by quadrature, as Figure 7, and how tight the bound is.

import { cells, colour, drawImages, makePlane, shade, short } from "./plots.js";
import { clamp, element, fillChoice, fromAddress, inSlices, make, say, signed, toAddress, whenQuiet, whenSeen } from "./state.js";

const PLANE = 5; // half the side of the square of integration, as in the paper
const COARSE = 61;
const FINE = 32;
const NEGLIGIBLE = 14; // nats below the maximum: what is farther down is a millionth
const SHOWN = 30;
const THUMBNAILS = 24;
const BOUND = { limit: 5, spacing: 0.625 }; // of the quadrature of the ELBO, in standard deviations
const NORMAL = Math.log(2 * Math.PI);

/** log p(x|z) of a pixel is x l − A(l) for the logit l, by eq. (4) or the continuous Bernoulli. */
const PARTITIONS = {
  bernoulli: (l) => Math.max(l, 0) + Math.log1p(Math.exp(-Math.abs(l))),
  continuous_bernoulli(l) {
    const size = Math.abs(l);
    if (size < 1e-3) return l / 2 + (size * size) / 24;
    return Math.max(l, 0) + Math.log(-Math.expm1(-size) / size);
  },
};

/** Set the part up; `vaes` are {model, generator} with two latent dimensions. Returns its API. */
export function startPosterior(vaes, encoders, images) {
  const start = fromAddress("posterior");
  const [, rows, columns] = images.shape;
  const size = images.pixels.length / images.index.length;
  const isImage = (k) => Number.isInteger(k) && k >= 0 && k < images.index.length;
  const state = { vae: vaes.find(({ model }) => model.name === start.vae) ?? vaes[0], chosen: 0, x: null, found: null };
  const grids = new Map();
  let cancelled = [];

  const ranges = [[-PLANE, PLANE], [-PLANE, PLANE]];
  const plane = makePlane(element("posterior", "plane"), {
    x: ranges[0],
    y: ranges[1],
    xLabel: "z₁",
    yLabel: "z₂",
    label: "Log posterior density on the latent plane",
    cursor: "default",
    paint,
  });

  function paint(pen) {
    const { found } = state;
    if (!found) return;
    const half = PLANE / (COARSE - 1); // the cells' centres are the grid's points
    pen.picture(found.canvas, [-PLANE - half, PLANE + half], [-PLANE - half, PLANE + half]);
    if (found.fine) pen.picture(found.fine, ...found.box);
    const { mean, deviation } = found;
    for (const count of [1, 2]) {
      const ellipse = Array.from({ length: 65 }, (_, k) => {
        const angle = (Math.PI * k) / 32;
        return [mean[0] + count * deviation[0] * Math.cos(angle), mean[1] + count * deviation[1] * Math.sin(angle)];
      });
      pen.line(ellipse, colour("latent"), 2);
    }
    const [u, v] = found.mode;
    const arm = (ranges[0][1] - ranges[0][0]) / 50;
    for (const [width, stroke] of [[4, colour("ground")], [2, colour("text")]]) {
      pen.line([[u - arm, v], [u + arm, v]], stroke, width);
      pen.line([[u, v - arm], [u, v + arm]], stroke, width);
    }
  }

  /** Logits on the coarse grid do not depend on the image: they are computed once for all. */
  function gridOf({ model, generator }) {
    if (grids.has(model.name)) return grids.get(model.name);
    const grid = { logits: new Float32Array(COARSE ** 2 * size), constant: new Float64Array(COARSE ** 2), ready: false };
    grids.set(model.name, grid);
    const partition = PARTITIONS[model.likelihood];
    inSlices(
      COARSE ** 2,
      (k) => {
        const z = [coarse(k % COARSE), coarse(Math.floor(k / COARSE))];
        const logits = generator.logits(z);
        grid.logits.set(logits, k * size);
        grid.constant[k] = logPrior(z) - logits.reduce((sum, l) => sum + partition(l), 0);
      },
      {
        progress: (share) => (element("posterior", "progress").textContent = share < 1 ? `The generator draws the plane: ${Math.round(100 * share)}%` : ""),
        done() {
          grid.ready = true;
          show();
        },
      },
    );
    return grid;
  }

  /** Of the image: the coarse posterior at once, the fine one and the bound a little later. */
  function show() {
    for (const cancel of cancelled) cancel();
    cancelled = [];
    const { vae, x } = state;
    const { mean, logVariance } = encoders.get(vae.model.name)(x);
    const deviation = Array.from(logVariance, (v) => Math.exp(v / 2));
    drawImages(element("posterior", "drawing"), [x], images.shape);
    drawImages(element("posterior", "at-mean"), [vae.generator.image(mean)], images.shape);
    const grid = gridOf(vae);
    if (!grid.ready) return;
    const joint = new Float64Array(COARSE ** 2);
    let best = 0;
    for (let k = 0; k < joint.length; k++) {
      let sum = grid.constant[k];
      for (let i = 0, at = k * size; i < size; i++, at++) sum += x[i] * grid.logits[at];
      joint[k] = sum;
      if (sum > joint[best]) best = k;
    }
    const canvas = shaded(joint, COARSE, joint[best]);
    state.found = { canvas, mean, deviation, mode: [coarse(best % COARSE), coarse(Math.floor(best / COARSE))] };
    state.found.evidence = null;
    state.found.elbo = null;
    present();
    refine(joint, best);
  }

  const refine = whenQuietWith((joint, best) => {
    const { vae, x, found } = state;
    const logJoint = (z) => {
      const logits = vae.generator.logits(z);
      const partition = PARTITIONS[vae.model.likelihood];
      let sum = logPrior(z);
      for (let i = 0; i < size; i++) sum += x[i] * logits[i] - partition(logits[i]);
      return sum;
    };
    const box = boxAbout(joint, best);
    const fine = new Float64Array(FINE ** 2);
    const at = (d, k) => box[d][0] + (k * (box[d][1] - box[d][0])) / (FINE - 1);
    const nodes = boundNodes(found.mean, found.deviation);
    const bound = new Float64Array(nodes.length);
    cancelled.push(
      inSlices(FINE ** 2 + nodes.length, (k) => {
        if (k < FINE ** 2) fine[k] = logJoint([at(0, k % FINE), at(1, Math.floor(k / FINE))]);
        else bound[k - FINE ** 2] = logJoint(nodes[k - FINE ** 2].z) - logPrior(nodes[k - FINE ** 2].z);
      }, {
        done() {
          const top = fine.indexOf(Math.max(...fine));
          found.mode = [at(0, top % FINE), at(1, Math.floor(top / FINE))];
          Object.assign(found, evidenceOf(joint, fine, box));
          const spacing = box.map(([low, high]) => (high - low) / (FINE - 1) / 2);
          found.box = box.map(([low, high], d) => [low - spacing[d], high + spacing[d]]);
          found.fine = shaded(fine, FINE, Math.max(...fine), colour("ground"));
          const mass = nodes.reduce((sum, node) => sum + node.mass, 0);
          const expected = nodes.reduce((sum, node, k) => sum + node.mass * bound[k], 0) / mass;
          found.elbo = expected - divergence(found.mean, found.deviation);
          present();
        },
      }),
    );
  }, 120);

  function present() {
    const { found, vae } = state;
    drawImages(element("posterior", "at-mode"), [vae.generator.image(found.mode)], images.shape);
    const known = state.chosen >= 0 ? images.evidence[vae.model.name]?.[images.index[state.chosen]] : null;
    const evidence = found.evidence == null ? "…" : `${signed(found.evidence)} ± ${short(found.evidenceError, 1)}`;
    const rows = [
      ["log p(x), nats", evidence, known?.[0]],
      ["ELBO, nats", found.elbo == null ? "…" : signed(found.elbo), known?.[1]],
      ["gap, nats", found.elbo == null ? "…" : signed(found.evidence - found.elbo), known && known[0] - known[1]],
    ];
    element("posterior", "numbers").replaceChildren(
      make("tr", {}, make("th"), make("td", { textContent: "here" }), make("td", { textContent: "evidence.csv" })),
      ...rows.map(([name, here, table]) => make("tr", {}, make("th", { textContent: name }), make("td", { textContent: here }), make("td", { textContent: table == null ? "–" : signed(table) }))),
    );
    frame();
    plane.redraw();
    const which = state.chosen >= 0 ? `Test image ${images.index[state.chosen]}${images.labels ? `, a ${images.labels[state.chosen]}` : ""}` : "Your drawing";
    const point = (p) => `(${Array.from(p, (v) => signed(v)).join(", ")})`;
    say("posterior", `${which}. Maximum of the posterior at z = ${point(found.mode)}; the encoder's mean is ${point(found.mean)}, its deviations ${point(found.deviation)}.${found.elbo == null ? "" : ` log p(x) is ${signed(found.evidence)} nats, the bound ${signed(found.evidence - found.elbo)} nats below it.`}`);
    toAddress("posterior", { vae: vae.model.name, ...(state.chosen >= 0 ? { image: images.index[state.chosen] } : { drawing: packDrawing(state.x) }) });
  }

  /** Show all of the plane, or a square about the posterior and the encoder's Gaussian. */
  function frame() {
    const { found } = state;
    const close = element("posterior", "close").checked && found?.box;
    const points = close ? [0, 1].map((d) => [...found.box[d], found.mean[d] - 2.5 * found.deviation[d], found.mean[d] + 2.5 * found.deviation[d]]) : null;
    const sides = close ? points.map((of) => [Math.min(...of), Math.max(...of)]) : [[-PLANE, PLANE], [-PLANE, PLANE]];
    const half = Math.max(...sides.map(([low, high]) => (high - low) / 2));
    sides.forEach(([low, high], d) => {
      ranges[d][0] = (low + high) / 2 - half;
      ranges[d][1] = (low + high) / 2 + half;
    });
    plane.rescale();
  }

  element("posterior", "close").addEventListener("change", frame);

  function choose(k) {
    state.chosen = k;
    state.x = Float64Array.from(images.pixels.subarray(k * size, (k + 1) * size), (byte) => byte / 255);
    mark();
    show();
  }

  function mark() {
    [...element("posterior", "thumbnails").children].forEach((button, k) => {
      button.setAttribute("aria-pressed", k === state.chosen);
      button.tabIndex = k === Math.max(state.chosen, 0) ? 0 : -1; // one stop for the Tab key
    });
  }

  function draw(change) {
    state.chosen = -1;
    state.x ??= new Float64Array(size);
    change(state.x);
    state.x = state.x.map((value) => Math.round(15 * value) / 15); // as the permalink keeps it
    mark();
    show();
  }

  element("posterior", "thumbnails").replaceChildren(
    ...images.index.slice(0, THUMBNAILS).map((index, k) => {
      const canvas = make("canvas");
      drawImages(canvas, [Float64Array.from(images.pixels.subarray(k * size, (k + 1) * size), (byte) => byte / 255)], images.shape);
      const button = make("button", { type: "button" }, canvas);
      button.setAttribute("aria-label", `Test image ${index}${images.labels ? `, a ${images.labels[k]}` : ""}`);
      button.addEventListener("click", () => choose(k));
      return button;
    }),
  );
  mark();
  element("posterior", "thumbnails").addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const buttons = event.currentTarget.children;
    buttons[clamp([...buttons].indexOf(event.target) + by, 0, buttons.length - 1)].focus();
  });
  fillChoice(element("posterior", "vae"), vaes.map(({ model }) => ({ value: model.name, text: model.title })), (name) => {
    state.vae = vaes.find(({ model }) => model.name === name);
    kind();
    show();
  });
  element("posterior", "vae").value = state.vae.model.name;
  element("posterior", "vae-choice").hidden = vaes.length === 1;
  element("posterior", "clear").addEventListener("click", () => draw((x) => x.fill(0)));
  letDraw(element("posterior", "drawing"), rows, columns, draw);

  function kind() {
    element("posterior", "kind").textContent =
      state.vae.model.likelihood === "bernoulli"
        ? "By eq. (4), which of grey values is a pseudo-likelihood; the gap is in nats all the same."
        : "By the continuous Bernoulli, a normalised density of grey values.";
  }

  kind();
  const first = images.index.indexOf(Number(start.image));
  state.x = unpackDrawing(start.drawing, size) ?? null;
  if (state.x) {
    state.chosen = -1;
    mark();
  }
  // By then an image may have been chosen.
  whenSeen("posterior", () => (state.x ? show() : choose(isImage(first) ? first : 0)));
  return { choose, draw, found: () => state.found };
}

function whenQuietWith(work, milliseconds) {
  let values;
  const run = whenQuiet(() => work(...values), milliseconds);
  return (...given) => {
    values = given;
    run();
  };
}

/** A picture of log densities on a square grid, on a ground if there is something below. */
function shaded(logs, count, largest, ground) {
  const rgb = (text) => text.match(/\w\w/g).map((part) => parseInt(part, 16));
  const [fill, below] = [rgb(colour("data")), ground && rgb(ground.replace(/^#(\w)(\w)(\w)$/, "#$1$1$2$2$3$3"))];
  return cells(count, count, (i, j) => {
    const share = clamp(1 + (logs[j * count + i] - largest) / SHOWN, 0, 1);
    return below ? [...fill.map((c, k) => share * c + (1 - share) * below[k]), 255] : shade(share, fill);
  });
}

function coarse(k) {
  return -PLANE + (2 * PLANE * k) / (COARSE - 1);
}

function logPrior(z) {
  return -0.5 * (z[0] ** 2 + z[1] ** 2) - NORMAL;
}

/** The divergence of the encoder's Gaussian from N(0, I), in closed form. */
function divergence(mean, deviation) {
  return [0, 1].reduce((sum, d) => sum + 0.5 * (mean[d] ** 2 + deviation[d] ** 2 - 1) - Math.log(deviation[d]), 0);
}

/** Nodes of the quadrature of the ELBO, in coordinates in which the encoder's Gaussian is N(0, I). */
function boundNodes(mean, deviation) {
  const nodes = [];
  for (let u = -BOUND.limit; u <= BOUND.limit; u += BOUND.spacing) {
    for (let v = -BOUND.limit; v <= BOUND.limit; v += BOUND.spacing) {
      nodes.push({ z: [mean[0] + deviation[0] * u, mean[1] + deviation[1] * v], mass: Math.exp(-0.5 * (u * u + v * v)) });
    }
  }
  return nodes;
}

/** The rectangle of the coarse grid in which the posterior is not negligible, with a cell about it. */
function boxAbout(joint, best) {
  const range = [[COARSE, -1], [COARSE, -1]];
  joint.forEach((value, k) => {
    if (value < joint[best] - NEGLIGIBLE) return;
    [k % COARSE, Math.floor(k / COARSE)].forEach((cell, d) => {
      range[d] = [Math.min(range[d][0], cell), Math.max(range[d][1], cell)];
    });
  });
  return range.map(([low, high]) => [coarse(Math.max(low - 2, 0)), coarse(Math.min(high + 2, COARSE - 1))]);
}

/**
 * log p(x): the fine grid in its box, the coarse grid outside of it. The error is that of the four
 * grids of twice the spacing, as in `dgmpipe.evaluation.posterior`.
 */
function evidenceOf(joint, fine, box) {
  const spacing = box.map(([low, high]) => (high - low) / (FINE - 1));
  const outside = joint.filter((_, k) => [k % COARSE, Math.floor(k / COARSE)].some((cell, d) => coarse(cell) < box[d][0] - 1e-9 || coarse(cell) > box[d][1] + 1e-9));
  const rest = logSum(outside) + 2 * Math.log((2 * PLANE) / (COARSE - 1));
  const cell = Math.log(spacing[0] * spacing[1]);
  const evidence = logSum([logSum(fine) + cell, rest]);
  const quarters = [0, 1, 2, 3].map((q) => fine.filter((_, k) => (k % FINE) % 2 === (q & 1) && Math.floor(k / FINE) % 2 === q >> 1));
  const errors = quarters.map((quarter) => Math.abs(logSum([logSum(quarter) + cell + Math.log(4), rest]) - evidence));
  return { evidence, evidenceError: Math.max(...errors) };
}

function logSum(values) {
  let largest = -Infinity;
  for (const value of values) largest = Math.max(largest, value);
  if (largest === -Infinity) return largest;
  let sum = 0;
  for (const value of values) sum += Math.exp(value - largest);
  return largest + Math.log(sum);
}

/** Let an image be drawn by a pointer, or by the arrow keys and Space. */
function letDraw(canvas, rows, columns, draw) {
  const brush = [rows / 2, columns / 2];
  let before = null;
  const stroke = (row, column) =>
    draw((x) => {
      const [r0, c0] = before ?? [row, column];
      const length = Math.max(1, Math.ceil(2 * Math.hypot(row - r0, column - c0)));
      for (let k = 0; k <= length; k++) blot(x, r0 + ((row - r0) * k) / length, c0 + ((column - c0) * k) / length);
      before = [row, column];
    });
  const blot = (x, row, column) => {
    for (let i = Math.floor(row - 2); i <= row + 2; i++) {
      for (let j = Math.floor(column - 2); j <= column + 2; j++) {
        if (i < 0 || j < 0 || i >= rows || j >= columns) continue;
        const ink = clamp(1.9 - Math.hypot(i + 0.5 - row, j + 0.5 - column), 0, 1);
        for (let at = i * columns + j; at < x.length; at += rows * columns) x[at] = Math.max(x[at], ink);
      }
    }
  };
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    stroke(((event.clientY - box.top) / box.height) * rows, ((event.clientX - box.left) / box.width) * columns);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    before = null;
    at(event);
  });
  canvas.addEventListener("pointermove", (event) => event.buttons && at(event));
  const held = new Set();
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], " ": [0, 0] }[event.key];
    if (!by) return;
    event.preventDefault();
    held.add(event.key);
    brush[0] = clamp(brush[0] + by[0], 1, rows - 1);
    brush[1] = clamp(brush[1] + by[1], 1, columns - 1);
    before = null;
    if (held.has(" ")) stroke(...brush);
  });
  canvas.addEventListener("keyup", (event) => held.delete(event.key));
}

/** A drawing as text for an address: a letter for each pixel, of 16 shades. */
function packDrawing(x) {
  return Array.from(x, (value) => Math.round(15 * value).toString(16)).join("").replace(/0{4,}/g, (zeros) => `.${zeros.length}.`);
}

function unpackDrawing(text, size) {
  const letters = (text ?? "").replace(/\.(\d{1,4})\./g, (_, count) => "0".repeat(Number(count)));
  return letters.length === size && /^[0-9a-f]+$/.test(letters) ? Float64Array.from(letters, (letter) => parseInt(letter, 16) / 15) : null;
}
