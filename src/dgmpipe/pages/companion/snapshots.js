// Part 5, below its curves: the samples of every generator and flow on the way through its training.

import { moonsLogProb } from "./flows.js";
import { cells, colour, drawImages, makePlane, shade, short } from "./plots.js";
import { clamp, element, inSlices, make, whenSeen, wordsOf } from "./state.js";

const MILLISECONDS = 350; // a frame
const TRUTH_CELLS = [88, 62];
const SHOWN_SHARE = 0.99; // of the flows' points, in their planes
const NUMBER = new Intl.NumberFormat("en");

/**
 * Set the scrubber up, at a place of the slider, and call `moved()` after each move.
 *
 * All models are shown at the same place, which is the same share of their steps. Returns
 * {at(), stepOf(model), sentence()}, or null if no training kept any samples.
 */
export function startScrubber(header, place, moved) {
  const films = header.snapshots.filter(({ steps }) => steps.length > 1);
  element("training", "scrubber").hidden = films.length === 0;
  element("training", "no-snapshots").hidden = films.length > 0;
  if (!films.length) return null;

  const slider = element("training", "snapshot");
  const last = Math.max(...films.map(({ steps }) => steps.length)) - 1;
  let at = clamp(Math.round(Number(place ?? last)) || 0, 0, last);
  let timer = null;
  const frameOf = ({ steps }) => Math.round((at * (steps.length - 1)) / last);
  const clouds = films.filter(({ range }) => range);
  const ranges = [0, 1].map((axis) => shownRange(clouds.flatMap(({ samples }) => samples), axis));
  const cards = films.map((film) => (film.range ? cloudCard(header, film, ranges) : sheetCard(header, film)));
  const into = (name, some) => element("training", name).replaceChildren(...some.map(({ figure }) => figure));
  into("sheets", cards.filter((_, k) => !films[k].range));
  into("clouds", cards.filter((_, k) => films[k].range));
  const missing = header.models.filter(({ name, family }) => family !== "judge" && !films.some(({ model }) => model === name));
  element("training", "without").textContent = missing.length ? `Without samples, as the training kept none or has no place here: ${missing.map(({ title }) => title).join(", ")}.` : "";

  function show() {
    slider.value = at;
    const share = films[0].steps[frameOf(films[0])] / films[0].steps.at(-1);
    const label = `${at} of ${last}, at ${short(100 * share, 2)}% of the steps`;
    element("training", "snapshot-label").textContent = label;
    slider.setAttribute("aria-valuetext", label);
    cards.forEach((card, k) => card.show(frameOf(films[k])));
  }

  function move(to) {
    at = clamp(to, 0, last);
    show();
    moved();
  }

  function play() {
    if (timer) return pause();
    element("training", "play").textContent = "Pause";
    if (at === last) move(0);
    timer = setInterval(() => (at < last ? move(at + 1) : pause()), MILLISECONDS);
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    element("training", "play").textContent = "Play";
  }

  slider.max = last;
  slider.addEventListener("input", () => {
    pause();
    move(Number(slider.value));
  });
  slider.addEventListener("keydown", (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    play();
  });
  element("training", "play").addEventListener("click", play);
  show();
  return {
    at: () => at,
    stepOf(model) {
      const film = films.find((candidate) => candidate.model === model);
      return film ? film.steps[frameOf(film)] : null;
    },
    sentence: () => `Samples ${slider.getAttribute("aria-valuetext")}: ${films.map((film) => `${header.titles[film.model]} after step ${NUMBER.format(film.steps[frameOf(film)])}`).join(", ")}.`,
  };
}

/** A figure with what is drawn, and below it the step and the measure there. */
function trainingCard(header, film, drawn, what) {
  const history = header.histories.find(({ model, seed }) => model === film.model && seed === film.seed);
  const [column] = Object.keys(history.columns); // an evaluation's own measure comes first
  const { name, unit } = wordsOf(column);
  const caption = make("small");
  const text = (frame) => {
    const step = film.steps[frame];
    const nearest = history.steps.reduce((best, one, k) => (Math.abs(one - step) < Math.abs(history.steps[best] - step) ? k : best), 0);
    const measured = `${name} ${short(history.columns[column][nearest])}${unit && ` ${unit}`}`;
    return `step ${NUMBER.format(step)} of ${NUMBER.format(film.steps.at(-1))}, ${measured}${history.steps[nearest] === step ? "" : ` at step ${NUMBER.format(history.steps[nearest])}`}`;
  };
  return {
    figure: make("figure", { className: "card" }, drawn, make("figcaption", {}, make("b", { textContent: header.titles[film.model] }), make("br"), caption)),
    describe(frame) {
      caption.textContent = text(frame);
      return `${what} by ${header.titles[film.model]}, ${caption.textContent}`;
    },
  };
}

function sheetCard(header, film) {
  const canvas = make("canvas");
  canvas.setAttribute("role", "img");
  const [, count, ...image] = film.shape;
  const shape = image.length === 2 ? [1, ...image] : image;
  const made = trainingCard(header, film, canvas, `${count} images`);
  return {
    ...made,
    show(frame) {
      drawImages(canvas, film.samples[frame], shape, Math.ceil(Math.sqrt(count)));
      canvas.setAttribute("aria-label", made.describe(frame));
    },
  };
}

function cloudCard(header, film, [x, y]) {
  const box = make("div");
  const made = trainingCard(header, film, box, `${film.shape[1]} points`);
  const { noise } = header.models.find(({ name }) => name === film.model) ?? {};
  let [frame, plane, density] = [0, null, null];

  function paint(pen) {
    const blue = colour("data");
    if (density) pen.picture(cells(...TRUTH_CELLS, (i, j) => shade(density[j * TRUTH_CELLS[0] + i], [128, 128, 128])), x, y, true);
    pen.dots(film.samples[frame], blue, 1.6, true);
  }

  // Not before, as it needs the width of its box.
  whenSeen("training", () => {
    plane = makePlane(box, { x, y, xLabel: "x₁", yLabel: "x₂", label: "", paint });
    plane.describe(made.describe(frame));
    if (!noise) return;
    const [columns, rows] = TRUTH_CELLS;
    const found = new Float64Array(columns * rows);
    const middle = ([low, high], k, count) => low + ((k + 0.5) * (high - low)) / count;
    inSlices(columns * rows, (k) => {
      const point = [middle(x, k % columns, columns), middle(y, Math.floor(k / columns), rows)];
      found[k] = Math.exp(moonsLogProb(point, noise)) / 1.4;
    }, {
      done() {
        density = found;
        plane.redraw();
      },
    });
  });
  return {
    ...made,
    show(next) {
      frame = next;
      const text = made.describe(frame);
      plane?.describe(text);
      plane?.redraw();
    },
  };
}

/** The range of a coordinate in which nearly all points of all steps are, of all flows. */
function shownRange(samples, axis) {
  const values = Float64Array.from(samples.flat(), (point) => point[axis]).sort();
  const rest = Math.floor(((1 - SHOWN_SHARE) / 2) * values.length);
  const [low, high] = [values[rest], values[values.length - 1 - rest]];
  const margin = 0.08 * (high - low) || 1;
  return [low - margin, high + margin];
}
