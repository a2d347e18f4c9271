// Part 5: Figure 11 and every other curve of the trainings, seeds as bands.

import { colour, makeCurves, short } from "./plots.js";
import { startScrubber } from "./snapshots.js";
import { element, fillChoice, fromAddress, say, toAddress, wordsOf } from "./state.js";

const DASHES = [[], [6, 4], [2, 3], [9, 3, 2, 3]];
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b"];

/** Set the part up. */
export function startTraining(header) {
  const start = fromAddress("training");
  const choices = choicesOf(header);
  const state = { metric: start.metric in choices ? start.metric : Object.keys(choices)[0], log: start.log !== "0" };
  let shown = null;
  let ends = "";
  const scrubber = startScrubber(header, start.samples, () => {
    shown.plot.redraw(false);
    describe();
  });

  function describe() {
    say("training", scrubber ? `${ends} ${scrubber.sentence()}` : ends);
    toAddress("training", { metric: state.metric, log: Number(state.log), ...(scrubber && { samples: scrubber.at() }) });
  }

  function show() {
    shown?.destroy();
    const { title, models, column } = choices[state.metric];
    const { name, unit } = wordsOf(column);
    const { steps, series, data, bands, seeds, fewest } = curvesOf(header, models, column);
    const level = column === "energy_distance" ? header.floor : null;
    if (level != null) {
      series.push({ label: "real training images, 95% quantile", stroke: () => colour("muted"), dash: [3, 3], width: 1.5, points: { show: false } });
      data.push(steps.map(() => level));
    }
    for (const [source, value] of column === "energy_distance" ? levelsOf(header, models) : []) {
      series.push({ label: `the ${header.titles[source]}, where others start`, stroke: () => colour("text"), dash: [1, 4], width: 1.5, points: { show: false } });
      data.push(steps.map(() => value));
    }
    const positive = data.flat().every((value) => value == null || value > 0);
    const log = state.log && positive;
    element("training", "log").disabled = !positive;
    element("training", "log").checked = log;
    const places = models.map((model) => [model, series.findIndex(({ label }) => label === header.titles[model])]);
    shown = makeCurves(element("training", "curves"), {
      label: `${title} over the steps of the trainings`,
      xLabel: "step",
      yLabel: unit ? `${name} [${unit}]` : name,
      logY: log,
      series,
      data: [steps, ...data],
      bands,
      height: 400,
      marks: () => places.filter(([model]) => scrubber?.stepOf(model) != null).map(([model, k]) => {
        const x = scrubber.stepOf(model);
        return { x, y: between(steps, data[k], x, log), stroke: series[k].stroke };
      }),
    });
    element("training", "seeds").textContent = seeds > 1 ? `Lines are means over ${fewest < seeds ? `${fewest} to ` : ""}${seeds} seeds, bands reach from the lowest seed to the highest.` : "These have one seed, so there are no bands; a config with several seeds has them.";
    const lasts = models.map((model) => header.histories.find((history) => history.model === model).steps.at(-1));
    if (new Set(lasts).size > 1) element("training", "seeds").textContent += ` A curve ends with its training: ${models.map((model, k) => `${header.titles[model]} has ${lasts[k].toLocaleString("en")} steps`).join(", ")}.`;
    const values = models.map((model) => `${header.titles[model]} ${short(lastOf(header, model, column))}`).join("; ");
    ends = `${title} after the last step${seeds > 1 ? ", mean over seeds" : ""}: ${values}.${level == null ? "" : ` Real training images come to at most ${short(level)} in 95 of 100 draws.`}`;
    describe();
  }

  fillChoice(element("training", "metric"), Object.entries(choices).map(([value, { title }]) => ({ value, text: title })), (metric) => {
    state.metric = metric;
    show();
  });
  element("training", "metric").value = state.metric;
  element("training", "log").addEventListener("change", (event) => {
    state.log = event.target.checked;
    show();
  });
  show();
}

/** The level of each model that others start from, as in Figure 11: where their curves begin. */
function levelsOf(header, models) {
  const found = new Map();
  for (const { model, columns } of header.histories) {
    const source = header.starts[model];
    if (source && models.includes(model)) found.set(source, [...(found.get(source) ?? []), columns.energy_distance[0]]);
  }
  return [...found].map(([source, values]) => [source, values.reduce((a, b) => a + b) / values.length]);
}

/** A curve's value at a step, on the line that is drawn between its neighbours; null if it has none. */
function between(steps, values, step, log) {
  const known = steps.flatMap((s, k) => (values[k] == null ? [] : [[s, values[k]]]));
  const next = known.findIndex(([s]) => s >= step);
  if (next < 0 || (next === 0 && known[0][0] !== step)) return null;
  const [x1, y1] = known[next];
  const [x0, y0] = known[Math.max(next - 1, 0)];
  const share = x1 === x0 ? 0 : (step - x0) / (x1 - x0);
  return log ? y0 ** (1 - share) * y1 ** share : y0 + share * (y1 - y0);
}

/** What can be shown: Figure 11, then each column of all models of a family. */
function choicesOf(header) {
  const found = {};
  for (const { model, columns } of header.histories) {
    for (const column of Object.keys(columns)) {
      const family = header.families[model];
      const key = `${family}.${column}`;
      const { name, equation } = wordsOf(column);
      const of = { flow: "Flows", vae: "VAE", gan: "GANs", judge: "Judge" }[family];
      const title = key === "gan.energy_distance" ? "Figure 11: energy distance of the GANs" : `${of}: ${name}${equation ? `, ${equation}` : ""}`;
      found[key] ??= { title, column, models: [] };
      if (!found[key].models.includes(model)) found[key].models.push(model);
    }
  }
  const entries = Object.entries(found).sort(([a], [b]) => (b === "gan.energy_distance") - (a === "gan.energy_distance"));
  return Object.fromEntries(entries);
}

/** Mean, lowest and highest over the seeds of each model, on the union of their steps. */
function curvesOf(header, models, column) {
  const histories = header.histories.filter((history) => models.includes(history.model) && column in history.columns);
  const steps = [...new Set(histories.flatMap((history) => history.steps))].sort((a, b) => a - b);
  const [series, data, bands] = [[], [], []];
  let [seeds, fewest] = [0, Infinity];
  models.forEach((model, k) => {
    const own = histories.filter((history) => history.model === model);
    [seeds, fewest] = [Math.max(seeds, own.length), Math.min(fewest, own.length)];
    const at = steps.map((step) => own.map(({ steps: s, columns }) => columns[column][s.indexOf(step)]).filter((value) => value != null));
    const stroke = COLOURS[k % COLOURS.length];
    const dash = DASHES[Math.floor(k / COLOURS.length) % DASHES.length];
    const spanGaps = true; // models are evaluated at different steps
    series.push({ label: header.titles[model], stroke, dash, width: 2, spanGaps, points: { show: false } });
    data.push(at.map((values) => (values.length ? values.reduce((a, b) => a + b) / values.length : null)));
    if (own.length < 2) return;
    for (const [name, of] of [["lowest", Math.min], ["highest", Math.max]]) {
      series.push({ label: `${header.titles[model]}, ${name}`, class: "edge", stroke: "transparent", spanGaps, points: { show: false } });
      data.push(at.map((values) => (values.length ? of(...values) : null)));
    }
    bands.push({ series: [data.length, data.length - 1], fill: `${stroke}33` });
  });
  return { steps, series, data, bands, seeds, fewest };
}

function lastOf(header, model, column) {
  const values = header.histories.filter((history) => history.model === model).map((history) => history.columns[column].at(-1));
  return values.reduce((a, b) => a + b) / values.length;
}
