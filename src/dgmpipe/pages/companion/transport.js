// Part 3: from a Gaussian to the moons and back, through layers or along characteristics.

import { normalPoints, randomStream } from "./energy.js";
import { moonsLogProb } from "./flows.js";
import { cells, colour, makeCurves, makePlane, shade, short } from "./plots.js";
import { clamp, element, fillChoice, fromAddress, inSlices, moveByKey, oncePerFrame, pair, say, signed, toAddress, whenSeen } from "./state.js";

const WAY = 3.2; // half the side of the plane of the way
const MOONS = { x: [-1.7, 2.7], y: [-1.3, 1.8] };
const MOONS_DENSITY = 1.4; // what is painted darkest
const CLOUD = 500;
const DENSITY_CELLS = [96, 68];
const STEPS = [1, 2, 4, 8, 16, 32, 64];
const ERROR_POINTS = 200;
const STATES_SHOWN = { true: "The true density", learned: "The learned density", difference: "The difference, orange where the learned density is larger," };

/** Set the part up; `models` are of flows, and `flows` what runs them, by name. */
export function startFlows(models, flows, inverseErrors) {
  const start = fromAddress("flows");
  const state = {
    model: models.find(({ name }) => name === start.flow) ?? models[0],
    backward: start.direction === "backward",
    at: Number(start.state) || 0,
    point: pair(start.point, [0.5, 0.5]),
    density: start.density in STATES_SHOWN ? start.density : "learned",
    probe: [0, 1],
  };
  // The ranges of the two planes, which follow the data of the flow that is chosen.
  const onWay = { x: [-WAY, WAY], y: [-WAY, WAY] };
  const onData = { x: [...MOONS.x], y: [...MOONS.y] };
  const cache = new Map();
  const flow = () => flows.get(state.model.name);
  const clouds = () => remembered("cloud", () => normalPoints(CLOUD, 2, randomStream(7)).map((z) => flow().states(z)));
  const last = () => clouds()[0].length - 1;

  function remembered(what, compute) {
    const key = `${what} ${state.model.name}`;
    if (!cache.has(key)) cache.set(key, compute());
    return cache.get(key);
  }

  const way = makePlane(element("flows", "plane"), {
    ...onWay,
    xLabel: "first coordinate",
    yLabel: "second coordinate",
    label: "A cloud on its way from the Gaussian to the data. Arrow keys move the point, page keys the slider.",
    paint: paintWay,
    onPoint(x, y, phase) {
      if (phase !== "down" && phase !== "move") return;
      state.point = [clamp(x, ...onWay.x), clamp(y, ...onWay.y)];
      update();
    },
    onKey(event) {
      const by = { PageUp: 1, PageDown: -1 }[event.key];
      if (by) state.at = clamp(state.at + by, 0, last());
      else if (!moveWithin(state.point, event, onWay, 1 / 64)) return false;
      update();
      return true;
    },
  });
  const density = makePlane(element("flows", "density-plane"), {
    ...onData,
    xLabel: "x₁",
    yLabel: "x₂",
    label: "Density of the data. Arrow keys move the pointer.",
    paint: paintDensity,
    onPoint(x, y) {
      state.probe = [x, y];
      update();
    },
    onKey(event) {
      if (!moveWithin(state.probe, event, onData, 1 / 88)) return false;
      update();
      return true;
    },
  });

  /** Where the data are: the moons, or of other data what the flow makes, and a tenth around it. */
  function dataRange() {
    if (state.model.noise) return MOONS;
    return remembered("range", () => {
      const ends = clouds().map((states) => states[states.length - 1]);
      const range = (d) => {
        const values = ends.map((end) => end[d]);
        const [low, high] = [Math.min(...values), Math.max(...values)];
        const margin = (high - low) / 10;
        return [low - margin, high + margin];
      };
      return { x: range(0), y: range(1) };
    });
  }

  /** Fit the planes to the data of the flow, and the points that are shown to the planes. */
  function fit() {
    const data = dataRange();
    for (const d of ["x", "y"]) {
      onData[d].splice(0, 2, ...data[d]);
      const ends = state.model.noise ? [] : data[d];
      onWay[d].splice(0, 2, Math.min(-WAY, ...ends), Math.max(WAY, ...ends));
    }
    for (const [point, ranges] of [[state.point, onWay], [state.probe, onData]]) {
      [ranges.x, ranges.y].forEach(([low, high], d) => {
        if (point[d] < low || point[d] > high) point[d] = (low + high) / 2;
      });
    }
    for (const plane of [way, density]) {
      plane.rescale();
      plane.resize();
    }
  }

  /** The states from z to x through the point, which is z or, backward, x. */
  function path() {
    return flow().states(state.backward ? flow().inverse(state.point).point : state.point);
  }

  function mixed(share) {
    return share < 0.5 ? colour("latent") : colour("data");
  }

  function paintWay(pen) {
    const share = state.at / last();
    pen.context.globalAlpha = 0.55;
    pen.dots(clouds().map((states) => states[state.at]), mixed(share), 2, share >= 0.5);
    pen.context.globalAlpha = 1;
    const states = path();
    pen.line(states, colour("text"), 2);
    pen.dots(states, colour("text"), 3);
    pen.dots([states[0]], colour("latent"), 5);
    pen.dots([states[states.length - 1]], colour("data"), 5, true);
    pen.handle(states[state.at], mixed(share));
  }

  function paintDensity(pen) {
    const picture = densityPicture();
    if (picture) pen.picture(picture, onData.x, onData.y, true);
    pen.handle(state.probe, colour("text"));
  }

  /** Log densities on cells, computed once; pictures of these in the colours of now. */
  function densityPicture() {
    const values = remembered("density", () => {
      const [columns, rows] = DENSITY_CELLS;
      const found = { learned: new Float64Array(columns * rows), true: new Float64Array(columns * rows), done: false };
      const { name, noise } = state.model;
      const { x: x0, y: y0 } = dataRange();
      inSlices(columns * rows, (k) => {
        const x = [cell(x0, k % columns, columns), cell(y0, Math.floor(k / columns), rows)];
        found.learned[k] = flows.get(name).logProb(x);
        found.true[k] = noise ? moonsLogProb(x, noise) : NaN;
      }, {
        progress: (share) => (element("flows", "progress").textContent = share < 1 ? `${Math.round(100 * share)}%` : ""),
        done() {
          found.done = true;
          found.darkest = noise ? MOONS_DENSITY : Math.exp(found.learned.reduce((a, b) => Math.max(a, b)));
          update();
        },
      });
      return found;
    });
    if (!values.done) return null;
    const rgb = (name) => colour(name).match(/\w\w/g).map((part) => parseInt(part, 16));
    return cells(...DENSITY_CELLS, (i, j) => {
      const k = j * DENSITY_CELLS[0] + i;
      if (state.density !== "difference") return shade(Math.exp(values[state.density][k]) / values.darkest, rgb("data"));
      // Where neither has any mass, nobody cares for the quotient.
      const weight = clamp(8 * Math.max(Math.exp(values.learned[k]), Math.exp(values.true[k])), 0, 1);
      const difference = values.learned[k] - values.true[k];
      return shade((weight * Math.abs(difference)) / 2, rgb(difference > 0 ? "latent" : "data"));
    });
  }

  const update = oncePerFrame(() => {
    const slider = element("flows", "state");
    slider.max = last();
    state.at = clamp(state.at, 0, last());
    slider.value = state.at;
    const continuous = flow().continuous;
    const label = continuous ? `t = ${(state.at / last()).toFixed(3)}` : `Layer ${state.at} of ${last()}`;
    element("flows", "state-label").textContent = label;
    slider.setAttribute("aria-valuetext", label);
    way.redraw();
    density.redraw();
    const learned = flow().logProb(state.probe);
    const truth = state.model.noise ? moonsLogProb(state.probe, state.model.noise) : null;
    const at = state.probe.map((v) => signed(v)).join(", ");
    const likelihood = `at x = (${at}) log p(x) is ${signed(learned)} nats by the flow${truth == null ? "" : ` and ${signed(truth)} in truth`}`;
    const states = path();
    const show = (p) => `(${p.map((v) => signed(v)).join(", ")})`;
    const { logDet } = flow().forward(states[0]);
    say("flows", `${state.model.title}, ${label}. z = ${show(states[0])} goes to x = ${show(states[states.length - 1])}, log |det ∇g(z)| = ${signed(logDet)}. ${STATES_SHOWN[state.density]} is shown; ${likelihood}.`);
    toAddress("flows", { flow: state.model.name, direction: state.backward ? "backward" : "forward", state: state.at, point: state.point.map((v) => v.toFixed(2)).join(), density: state.density });
  });

  let curves = null;
  function inverse() {
    const box = element("flows", "inverse");
    box.hidden = !flow().continuous;
    curves?.destroy();
    curves = null;
    if (box.hidden) return;
    const errors = remembered("errors", () => {
      const points = normalPoints(ERROR_POINTS, 2, randomStream(11));
      return STEPS.map((steps) => {
        let [error, norm] = [0, 0];
        for (const z of points) {
          const back = flow().inverse(flow().forward(z, steps).point, steps).point;
          error += (back[0] - z[0]) ** 2 + (back[1] - z[1]) ** 2;
          norm += z[0] ** 2 + z[1] ** 2;
        }
        return Math.sqrt(error / norm);
      });
    });
    const table = inverseErrors.filter((row) => row.model === state.model.name && row.seed === state.model.seed);
    const of = (steps) => table.find((row) => row.rk4_steps === steps)?.inverse_error_double ?? null;
    curves = makeCurves(element("flows", "inverse-plot"), {
      label: "Inverse error of OT-Flow against the number of Runge-Kutta steps, both by powers of ten",
      xLabel: "Runge-Kutta steps",
      yLabel: "inverse error",
      logX: true,
      logY: true,
      series: [
        { label: "here", stroke: () => colour("data"), width: 2, points: { show: true, size: 7 } },
        { label: "otflow_inverse_error.csv", stroke: () => colour("latent"), width: 0, points: { show: true, size: 11, fill: "transparent", width: 2 } },
      ],
      data: [STEPS, errors, STEPS.map(of)],
      height: 260,
    });
    element("flows", "inverse-text").textContent = `Inverse error: ${STEPS.map((steps, k) => `${short(errors[k], 2)} with ${steps}`).join(", ")} steps.`;
  }

  function choose() {
    const options = element("flows", "density").options;
    for (const option of options) option.disabled = option.value !== "learned" && !state.model.noise;
    if (!state.model.noise) element("flows", "density").value = state.density = "learned";
    fit();
    inverse();
    update();
  }

  let timer = null;
  element("flows", "play").addEventListener("click", () => {
    clearInterval(timer);
    state.at = 0;
    update();
    timer = setInterval(() => {
      if (state.at >= last()) return clearInterval(timer);
      state.at += 1;
      update();
    }, 400);
  });
  element("flows", "state").addEventListener("input", (event) => {
    state.at = Number(event.target.value);
    update();
  });
  element("flows", "direction").value = state.backward ? "backward" : "forward";
  element("flows", "direction").addEventListener("change", (event) => {
    const states = path();
    state.backward = event.target.value === "backward";
    state.point = [...states[state.backward ? states.length - 1 : 0]];
    state.at = state.backward ? last() : 0;
    update();
  });
  fillChoice(element("flows", "flow"), models.map(({ name, title }) => ({ value: name, text: title })), (name) => {
    state.model = models.find((model) => model.name === name);
    choose();
  });
  element("flows", "flow").value = state.model.name;
  element("flows", "density").value = state.density;
  element("flows", "density").addEventListener("change", (event) => {
    state.density = event.target.value;
    update();
  });
  whenSeen("flows", choose);
}

/** Move a point by the arrow keys, by a share of the ranges, beyond which it does not go. */
function moveWithin(point, event, { x, y }, share) {
  const by = [0, 0];
  if (!moveByKey(by, event, 1, share)) return false;
  [x, y].forEach(([low, high], d) => (point[d] = clamp(point[d] + by[d] * (high - low), low, high)));
  return true;
}

function cell([low, high], k, count) {
  return low + ((k + 0.5) * (high - low)) / count;
}
