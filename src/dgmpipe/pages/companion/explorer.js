// Part 1: what all generators make of a point of the latent plane.

import { normalPoints, randomStream } from "./energy.js";
import { softmax } from "./networks.js";
import { cells, colour, drawImages, makePlane, PALETTE } from "./plots.js";
import { clamp, element, fillChoice, fromAddress, inSlices, make, moveByKey, oncePerFrame, pair, say, signed, toAddress, whenSeen } from "./state.js";

const LIMIT = 4;
const MAP_CELLS = 40;
const LINE_IMAGES = 11;
const SHEET = 16;

/** Set the part up; `generators` are {model, generator}, `judge` may be missing. Returns its API. */
export function startExplorer(generators, judge, work) {
  const start = fromAddress("explorer");
  const state = {
    z: pair(start.z, [0.5, -0.5]),
    ends: [pair(start.a, [-1, -1]), pair(start.b, [1, 1])],
    line: start.line === "1",
    seed: Number(start.samples) || 0,
    map: generators.some(({ model }) => model.name === start.map) ? start.map : generators[0].model.name,
    samples: [],
    dragged: null,
  };
  const maps = new Map();
  const cards = generators.map((entry) => makeCard(entry, judge));
  element("explorer", "images").replaceChildren(...cards.map((card) => card.figure));

  const plane = makePlane(element("explorer", "plane"), {
    x: [-LIMIT, LIMIT],
    y: [-LIMIT, LIMIT],
    xLabel: "z₁",
    yLabel: "z₂",
    label: "Latent plane. Arrow keys move the point, with Shift by less; S draws samples, L shows the line.",
    paint,
    onPoint: drag,
    onKey(event) {
      if (event.key === "s") return draw(state.seed + 1), true;
      if (event.key === "l") return showLine(!state.line), true;
      if (!moveByKey(state.z, event, LIMIT)) return false;
      update();
      return true;
    },
  });
  const update = oncePerFrame(() => {
    work.frames += 1;
    for (const card of cards) {
      card.show(state.z);
      work.images += 1;
    }
    plane.redraw();
    describe();
    remember();
  });

  function paint(pen) {
    const map = maps.get(state.map);
    if (map?.canvas) {
      pen.picture(map.canvas, [-LIMIT, LIMIT], [-LIMIT, LIMIT]);
      for (const { digit, at } of map.names) pen.text(at, String(digit));
    }
    for (const radius of [1, 2, 3]) pen.line(circle(radius), colour("text"), 0.8, [3, 4]);
    pen.dots(state.samples, colour("latent"), 3.5);
    if (state.line) {
      pen.line(state.ends, colour("text"), 2);
      state.ends.forEach((end, k) => pen.handle(end, "#555", "AB"[k]));
    }
    pen.handle(state.z, colour("latent"));
  }

  function drag(x, y, phase) {
    if (phase === "down") {
      const near = (end) => Math.hypot(end[0] - x, end[1] - y) * plane.unit() < 18;
      state.dragged = (state.line && state.ends.find(near)) || state.z;
    }
    if (phase === "up") state.dragged = null;
    if (!state.dragged || phase === "hover") return;
    state.dragged[0] = clamp(x, -LIMIT, LIMIT);
    state.dragged[1] = clamp(y, -LIMIT, LIMIT);
    update();
    if (state.dragged !== state.z) drawLines();
  }

  const drawLines = oncePerFrame(() => {
    for (const card of cards) card.showLine(state.line ? state.ends : null);
  });

  function showLine(shown) {
    state.line = shown;
    element("explorer", "line").checked = shown;
    drawLines();
    update();
  }

  function draw(seed) {
    state.seed = seed;
    state.samples = seed ? cards.map((card) => card.showSamples(seed))[0] : [];
    update();
  }

  function describe() {
    const readings = cards.map((card) => `${card.title} ${card.reading || "drawn"}`).join("; ");
    const seen = judge ? `The judge reads: ${readings}.` : `Images of ${cards.map((c) => c.title).join(", ")}.`;
    say("explorer", `z = (${state.z.map((v) => signed(v)).join(", ")}). ${seen}`);
  }

  function remember() {
    const values = { z: state.z.map((v) => v.toFixed(2)).join(), map: state.map };
    if (state.line) Object.assign(values, { line: 1, a: state.ends[0].map((v) => v.toFixed(2)).join(), b: state.ends[1].map((v) => v.toFixed(2)).join() });
    if (state.seed) values.samples = state.seed;
    toAddress("explorer", values);
  }

  function computeMap(name) {
    if (!judge || maps.has(name)) return;
    const map = { canvas: null, codes: new Float64Array(2 * MAP_CELLS ** 2) };
    maps.set(name, map);
    const { generator } = generators.find(({ model }) => model.name === name);
    const note = element("explorer", "progress");
    inSlices(
      MAP_CELLS ** 2,
      (k) => {
        const at = (i) => -LIMIT + ((i + 0.5) * 2 * LIMIT) / MAP_CELLS;
        const z = sliced([at(k % MAP_CELLS), at(Math.floor(k / MAP_CELLS))], generator.latentDim);
        const shares = softmax(judge(generator.image(z)));
        const best = shares.indexOf(Math.max(...shares));
        map.codes.set([best, shares[best]], 2 * k);
      },
      {
        progress: (share) => (note.textContent = share < 1 ? `The judge reads the map: ${Math.round(100 * share)}%` : ""),
        done() {
          map.canvas = cells(MAP_CELLS, MAP_CELLS, (i, j) => {
            const [best, share] = map.codes.subarray(2 * (j * MAP_CELLS + i));
            return best < 10 ? [...PALETTE[best], 210 * share] : [128, 128, 128, 40];
          });
          map.names = namesOf(map.codes);
          update();
        },
      },
    );
  }

  fillChoice(
    element("explorer", "map"),
    generators.map(({ model }) => ({ value: model.name, text: model.title })),
    (name) => {
      state.map = name;
      computeMap(name);
      update();
    },
  );
  element("explorer", "map").value = state.map;
  element("explorer", "map-choice").hidden = !judge;
  if (judge) {
    element("explorer", "legend").replaceChildren(
      ...PALETTE.map((rgb, digit) => swatch(`rgb(${rgb})`, String(digit))),
      swatch("rgb(128 128 128 / .3)", "no digit"),
    );
    whenSeen("explorer", () => computeMap(state.map));
  }
  element("explorer", "sample").addEventListener("click", () => draw(state.seed + 1));
  element("explorer", "line").addEventListener("change", (event) => showLine(event.target.checked));
  if (state.seed) draw(state.seed);
  showLine(state.line);
  return {
    moveTo(z) {
      state.z = z;
      update();
    },
  };
}

/** Where on a map the name of a digit stands: in the cell that is farthest from other digits. */
function namesOf(codes) {
  const digitAt = (i, j) => (i < 0 || j < 0 || i >= MAP_CELLS || j >= MAP_CELLS ? -1 : codes[2 * (j * MAP_CELLS + i)]);
  const names = [];
  for (let digit = 0; digit < 10; digit++) {
    let [widest, place] = [1, null];
    for (let k = 0; k < MAP_CELLS ** 2; k++) {
      const [i, j] = [k % MAP_CELLS, Math.floor(k / MAP_CELLS)];
      let width = 0;
      const same = (r) => [[r, 0], [-r, 0], [0, r], [0, -r], [r, r], [r, -r], [-r, r], [-r, -r]].every(([a, b]) => digitAt(i + a, j + b) === digit);
      while (width <= MAP_CELLS && same(width)) width++;
      if (width > widest) [widest, place] = [width, [i, j]];
    }
    if (place) names.push({ digit, at: place.map((cell) => -LIMIT + ((cell + 0.5) * 2 * LIMIT) / MAP_CELLS) });
  }
  return names;
}

/** A generator with more dimensions than the plane is shown on the slice where the others are 0. */
export function sliced(z, q) {
  return Array.from({ length: q }, (_, k) => z[k] ?? 0);
}

function makeCard({ model, generator }, judge) {
  const image = picture(`Image by ${model.title}`);
  const caption = make("figcaption", {}, make("b", { textContent: model.title }));
  const reading = make("span", { className: "reading" });
  caption.append(reading);
  if (generator.latentDim > 2) caption.append(make("small", { textContent: ` slice of ${generator.latentDim} dimensions` }));
  const line = picture(`Images by ${model.title} along the line from A to B`);
  const sheet = picture(`${SHEET} samples of ${model.title}`);
  line.hidden = sheet.hidden = true;
  line.className = "strip";
  const card = { title: model.title, reading: "", figure: make("figure", { className: "card" }, image, caption, sheet, line) };
  const imageAt = (z) => generator.image(sliced(z, generator.latentDim));
  card.show = (z) => {
    const made = imageAt(z);
    drawImages(image, [made], generator.imageShape);
    if (!judge) return;
    const shares = softmax(judge(made));
    const best = shares.indexOf(Math.max(...shares));
    card.reading = best < 10 ? `${best} (${Math.round(100 * shares[best])}%)` : "no digit";
    reading.textContent = ` ${card.reading}`;
    image.setAttribute("aria-label", `Image by ${model.title}; the judge reads ${card.reading}`);
  };
  card.showLine = (ends) => {
    line.hidden = !ends;
    if (!ends) return;
    const images = Array.from({ length: LINE_IMAGES }, (_, k) => {
      const t = k / (LINE_IMAGES - 1);
      return imageAt([0, 1].map((d) => (1 - t) * ends[0][d] + t * ends[1][d]));
    });
    drawImages(line, images, generator.imageShape);
  };
  card.showSamples = (seed) => {
    const points = normalPoints(SHEET, generator.latentDim, randomStream(seed));
    sheet.hidden = false;
    drawImages(sheet, points.map((z) => generator.image(z)), generator.imageShape, 4);
    return points;
  };
  return card;
}

function picture(label) {
  const canvas = make("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  return canvas;
}

function swatch(fill, text) {
  const box = make("i");
  box.style.background = fill;
  return make("span", { className: "swatch" }, box, text);
}

function circle(radius) {
  return Array.from({ length: 65 }, (_, k) => [radius * Math.cos((Math.PI * k) / 32), radius * Math.sin((Math.PI * k) / 32)]);
}
