// Part 4: the energy test of two samples, and a quiz.

import { energyTest, normalPoints, randomStream } from "./energy.js";
import { colour, drawImages, makeCurves, makePlane, short } from "./plots.js";
import { clamp, element, fillChoice, fromAddress, make, moveByKey, oncePerFrame, say, signed, toAddress, whenSeen } from "./state.js";

const SIDE = 4; // half that of the plane
const BINS = 32;
const PLANE_OPTION = "points of the plane";
const REAL = "test images";
const SHEET_IMAGES = 16;

/** Set the part up; `generators` are {model, generator}. */
export function startEnergy(generators, header) {
  const start = fromAddress("energy");
  const { images } = header;
  const shape = images?.shape;
  const sources = new Map(generators.map((entry) => [entry.model.name, entry]));
  const hasReal = images && images.index.length >= 20;
  const size = images ? images.pixels.length / images.index.length : 0;
  const realAt = (k) => Float64Array.from(images.pixels.subarray(k * size, (k + 1) * size), (byte) => byte / 255);
  const names = [...sources.keys(), ...(hasReal ? [REAL] : [])];
  const state = {
    first: names.includes(start.first) ? start.first : "",
    second: names.includes(start.second) ? start.second : (names[names.length - 1] ?? ""),
    n: clamp(Number(start.n) || 20, 3, 100),
    permutations: ["19", "99", "499", "999"].includes(start.permutations) ? Number(start.permutations) : 499,
    seed: Number(start.seed) || 1,
    x: [],
    y: [],
    dragged: null,
  };

  const plane = makePlane(element("energy", "plane"), {
    x: [-SIDE, SIDE],
    y: [-SIDE, SIDE],
    xLabel: "first coordinate",
    yLabel: "second coordinate",
    label: "Two samples of points. Drag a point, or the ground to move all of the second sample, as arrow keys do.",
    paint(pen) {
      pen.dots(state.x, colour("latent"), 5);
      pen.dots(state.y, colour("data"), 5, true);
    },
    onPoint: drag,
    onKey(event) {
      const by = [0, 0];
      if (!moveByKey(by, event, SIDE, 0.1)) return false;
      moveAll(by);
      return true;
    },
  });

  function drag(x, y, phase) {
    if (phase === "down") {
      const near = [...state.x, ...state.y].sort((a, b) => Math.hypot(a[0] - x, a[1] - y) - Math.hypot(b[0] - x, b[1] - y))[0];
      const hit = Math.hypot(near[0] - x, near[1] - y) * plane.unit() < 22;
      state.dragged = hit ? near : "all";
      state.from = [x, y];
    }
    if (phase === "up") state.dragged = null;
    if (phase !== "move" || !state.dragged) return;
    if (state.dragged === "all") {
      moveAll([x - state.from[0], y - state.from[1]]);
      state.from = [x, y];
    } else {
      [state.dragged[0], state.dragged[1]] = [clamp(x, -SIDE, SIDE), clamp(y, -SIDE, SIDE)];
      update();
    }
  }

  function moveAll([dx, dy]) {
    for (const point of state.y) [point[0], point[1]] = [point[0] + dx, point[1] + dy];
    update();
  }

  function sample() {
    const random = randomStream(state.seed);
    if (!state.first) {
      state.x = normalPoints(state.n, 2, random);
      state.y = normalPoints(state.n, 2, random).map(([a, b]) => [a + 0.7, b]);
    } else {
      // Two samples of real images have none in common.
      const order = hasReal ? shuffled(images.index.length, random) : [];
      const n = Math.min(state.n, hasReal ? Math.floor(order.length / 2) : state.n);
      const draw = (name) => (name === REAL ? order.splice(0, n).map(realAt) : drawn(sources.get(name).generator, n, random));
      [state.x, state.y] = [draw(state.first), draw(state.second)];
      for (const [canvas, shown] of [[sheets[0], state.x], [sheets[1], state.y]]) {
        drawImages(canvas, shown.slice(0, SHEET_IMAGES), shape ?? generators[0].generator.imageShape, 4);
      }
    }
    update();
  }

  const sheets = [0, 1].map((k) => {
    const canvas = make("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Images of the ${k ? "second" : "first"} source`);
    element("energy", "sheets").append(make("figure", { className: "card" }, canvas, make("figcaption")));
    return canvas;
  });

  let histogram = null;
  const update = oncePerFrame(() => {
    const { statistic, unbiased, nulls, pvalue } = energyTest(state.x, state.y, state.permutations, randomStream(state.seed + 1));
    const most = 1.05 * Math.max(statistic, ...nulls);
    const counts = new Array(BINS + 1).fill(0);
    for (const value of nulls) counts[Math.min(Math.floor((value / most) * BINS), BINS - 1)] += 1;
    const edges = counts.map((_, k) => (k * most) / BINS);
    counts[BINS] = counts[BINS - 1];
    // A line at the statistic, with as many nodes as the histogram has.
    const xs = [...edges, statistic].sort((a, b) => a - b);
    const bars = xs.map((x) => counts[Math.min(Math.floor((x / most) * BINS + 1e-9), BINS)]);
    histogram?.destroy();
    histogram = makeCurves(element("energy", "histogram"), {
      label: "Histogram of the statistic under permutations; a line marks that of the samples",
      xLabel: "statistic T",
      yLabel: "permutations",
      series: [{ label: "permutations", stroke: () => colour("muted"), fill: () => colour("line"), paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } }],
      data: [xs, bars],
      height: 300,
      mark: { value: statistic, text: "of the samples" },
    });
    plane.redraw();
    say("energy", `n = ${state.x.length} and ${state.y.length}: T = ${short(statistic)}, energy distance ${signed(unbiased, 3)} (unbiased), p = ${short(pvalue, 2)} by ${state.permutations} permutations, ${pvalue <= 0.05 ? "so the samples differ at the 5% level" : "which is no sign that the samples differ"}.`);
    remember();
  });

  function remember() {
    const values = { n: state.n, permutations: state.permutations, seed: state.seed };
    if (state.first) Object.assign(values, { first: state.first, second: state.second });
    toAddress("energy", values);
  }

  function arrange() {
    element("energy", "plane").hidden = Boolean(state.first);
    element("energy", "sheets").hidden = !state.first;
    element("energy", "second").disabled = !state.first;
    const named = (name) => sources.get(name)?.model.title ?? name;
    sheets.forEach((canvas, k) => (canvas.parentElement.querySelector("figcaption").textContent = named(k ? state.second : state.first)));
    sample();
  }

  const title = (name) => ({ value: name, text: sources.get(name)?.model.title ?? name });
  fillChoice(element("energy", "first"), [{ value: "", text: PLANE_OPTION }, ...names.map(title)], (name) => {
    state.first = name;
    arrange();
  });
  fillChoice(element("energy", "second"), names.map(title), (name) => {
    state.second = name;
    arrange();
  });
  element("energy", "first").value = state.first;
  element("energy", "second").value = state.second;
  const slider = element("energy", "n");
  slider.value = state.n;
  const showN = () => (element("energy", "n-shown").textContent = state.n);
  slider.addEventListener("input", () => {
    state.n = Number(slider.value);
    showN();
    sample();
  });
  showN();
  element("energy", "permutations").value = String(state.permutations);
  element("energy", "permutations").addEventListener("change", (event) => {
    state.permutations = Number(event.target.value);
    update();
  });
  element("energy", "again").addEventListener("click", () => {
    state.seed += 1;
    sample();
  });
  whenSeen("energy", arrange);
  if (hasReal && generators.length) startQuiz(generators, header, realAt);
}

function startQuiz(generators, header, realAt) {
  element("energy", "quiz").hidden = false;
  const random = randomStream(Date.now());
  const scores = new Map([["", { title: "test images", asked: 0, right: 0 }]]);
  for (const { model } of generators) scores.set(model.name, { title: model.title, asked: 0, right: 0 });
  const distance = (name) => header.generators.find((row) => row.model === (name || "real"))?.energy_distance;
  let question = null;

  function ask() {
    const real = random() < 0.5;
    const { model, generator } = generators[Math.floor(random() * generators.length)];
    const image = real ? realAt(Math.floor(random() * header.images.index.length)) : drawn(generator, 1, random)[0];
    question = { name: real ? "" : model.name };
    drawImages(element("energy", "question"), [image], real ? header.images.shape : generator.imageShape);
  }

  function answer(real) {
    const score = scores.get(question.name);
    const right = real === (question.name === "");
    score.asked += 1;
    score.right += right;
    element("energy", "answer").textContent = `${right ? "Right" : "Wrong"}: it was ${question.name ? `by ${score.title}` : "a test image"}.`;
    table();
    ask();
  }

  function table() {
    element("energy", "scores").replaceChildren(
      ...[...scores].map(([name, { title, asked, right }]) => {
        const value = distance(name);
        return make("tr", {}, make("th", { textContent: title }), make("td", { textContent: asked ? `${right} of ${asked}` : "–" }), make("td", { textContent: value == null ? "–" : `${short(value)}${name ? "" : " (training images)"}` }));
      }),
    );
  }

  element("energy", "real").addEventListener("click", () => answer(true));
  element("energy", "generated").addEventListener("click", () => answer(false));
  element("energy", "quiz").addEventListener("keydown", (event) => {
    if (event.key === "r") answer(true);
    if (event.key === "g") answer(false);
  });
  ask();
  table();
}

/** Images of `n` random latent points. */
function drawn(generator, n, random) {
  return normalPoints(n, generator.latentDim, random).map((z) => generator.image(z));
}

function shuffled(count, random) {
  const order = Array.from({ length: count }, (_, k) => k);
  for (let k = count - 1; k > 0; k--) {
    const j = Math.floor(random() * (k + 1));
    [order[k], order[j]] = [order[j], order[k]];
  }
  return order;
}
