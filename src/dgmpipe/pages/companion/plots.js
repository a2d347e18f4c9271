// Planes and curves with the axes of uPlot, and images.

export const PALETTE = [
  [31, 119, 180], [255, 127, 14], [44, 160, 44], [214, 39, 40], [148, 103, 189],
  [140, 86, 75], [227, 119, 194], [54, 74, 105], [188, 189, 34], [23, 190, 207],
];
const AXES = { left: 62, bottom: 52, margin: 10 };
const redraws = new Set();

/** Return a colour of the style sheet, which has those of light and dark. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// On paper all is light.
for (const query of ["(prefers-color-scheme: dark)", "print"]) {
  matchMedia(query).addEventListener("change", () => {
    for (const redraw of redraws) redraw();
  });
}

function axis(label, size) {
  const stroke = () => colour("text");
  const grid = { stroke: () => colour("grid"), width: 1 };
  const values = (_, ticks) => ticks.map((tick) => short(tick));
  return { label, size: size - 20, labelSize: 20, gap: 4, values, stroke, grid, ticks: { ...grid, size: 4 }, font: "12px system-ui", labelFont: "13px system-ui" };
}

/**
 * A plane with axes, in which things can be dragged, or a picture if nothing is told of that.
 *
 * `paint(pen)` is called at each `redraw`: `pen` has the canvas's `context`, and turns values into
 * its pixels. `onPoint(x, y, phase)` is told where the pointer is while it is down; `phase` is
 * "down", "move" or "up". `onKey(event)` gets arrow keys and others, and returns whether it used one.
 * The ranges `x` and `y` may be changed in place before a `redraw`.
 */
export function makePlane(parent, { x, y, xLabel, yLabel, label, paint, onPoint, onKey, cursor = "crosshair", largest = 520 }) {
  const options = {
    ...sizeOf(parent, x, y, largest),
    scales: { x: { time: false, range: () => x }, y: { range: () => y } },
    axes: [axis(xLabel, AXES.bottom), axis(yLabel, AXES.left)],
    padding: [AXES.margin, AXES.margin, 0, 0],
    series: [{}, { show: true, stroke: "transparent" }],
    cursor: { show: false },
    legend: { show: false },
    hooks: { draw: [(plot) => paint(penOf(plot))] },
  };
  const plot = new uPlot(options, [x, [null, null]], parent);
  const redraw = () => plot.redraw(false, true);
  const rescale = () => plot.setData([x, [null, null]]);
  const resize = () => plot.setSize(sizeOf(parent, x, y, largest));
  plot.ctx.canvas.setAttribute("aria-hidden", "true");
  const over = plot.over;
  const describe = (text) => over.setAttribute("aria-label", text);
  const moves = onPoint || onKey;
  over.style.cursor = moves ? cursor : "default";
  over.setAttribute("role", moves ? "application" : "img");
  if (moves) over.tabIndex = 0;
  describe(label);
  const at = (event, phase) => {
    const box = over.getBoundingClientRect();
    onPoint?.(plot.posToVal(event.clientX - box.left, "x"), plot.posToVal(event.clientY - box.top, "y"), phase);
  };
  over.addEventListener("pointerdown", (event) => {
    over.setPointerCapture(event.pointerId);
    at(event, "down");
  });
  over.addEventListener("pointermove", (event) => at(event, event.buttons ? "move" : "hover"));
  over.addEventListener("pointerup", (event) => at(event, "up"));
  over.addEventListener("keydown", (event) => {
    if (onKey?.(event)) event.preventDefault();
  });
  new ResizeObserver(resize).observe(parent);
  redraws.add(redraw);
  return { redraw, rescale, resize, describe, unit: () => (plot.bbox.width / (x[1] - x[0])) / devicePixelRatio };
}

/** As wide as there is place for, and as high as equal units along both axes need, within limits. */
function sizeOf(parent, x, y, largest) {
  const width = Math.max(200, Math.min(parent.clientWidth, largest));
  const inner = width - AXES.left - AXES.margin;
  const share = Math.min(Math.max((y[1] - y[0]) / (x[1] - x[0]), 0.5), 1.25);
  return { width, height: Math.round(inner * share) + AXES.bottom + AXES.margin };
}

function penOf(plot) {
  const context = plot.ctx;
  const px = (value) => plot.valToPos(value, "x", true);
  const py = (value) => plot.valToPos(value, "y", true);
  const ratio = devicePixelRatio;
  const clipped = (draw) => {
    context.save();
    context.beginPath();
    context.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
    context.clip();
    draw();
    context.restore();
  };
  return {
    context,
    ratio,
    /** A picture, whose rows go up, on all of the plane or on a rectangle of it. */
    picture(canvas, [x0, x1], [y0, y1], smooth = false) {
      clipped(() => {
        context.imageSmoothingEnabled = smooth;
        context.drawImage(canvas, px(x0), py(y1), px(x1) - px(x0), py(y0) - py(y1));
      });
    },
    dots(points, fill, size, square = false) {
      clipped(() => {
        context.fillStyle = fill;
        for (const [x, y] of points) {
          context.beginPath();
          if (square) context.rect(px(x) - size * ratio, py(y) - size * ratio, 2 * size * ratio, 2 * size * ratio);
          else context.arc(px(x), py(y), size * ratio, 0, 2 * Math.PI);
          context.fill();
        }
      });
    },
    line(points, stroke, width = 1.5, dash = []) {
      clipped(() => {
        context.strokeStyle = stroke;
        context.lineWidth = width * ratio;
        context.setLineDash(dash.map((d) => d * ratio));
        context.beginPath();
        points.forEach(([x, y], i) => (i ? context.lineTo(px(x), py(y)) : context.moveTo(px(x), py(y))));
        context.stroke();
      });
    },
    text([x, y], text) {
      context.font = `bold ${18 * ratio}px system-ui`;
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.lineWidth = 4 * ratio;
      context.strokeStyle = "#000a";
      context.setLineDash([]);
      context.strokeText(text, px(x), py(y));
      context.fillStyle = "#fff";
      context.fillText(text, px(x), py(y));
    },
    /** A point that can be dragged, with a ring that is seen on any ground. */
    handle([x, y], fill, text = "") {
      clipped(() => {
        context.beginPath();
        context.arc(px(x), py(y), 8 * ratio, 0, 2 * Math.PI);
        context.fillStyle = fill;
        context.fill();
        for (const [ring, width] of [["#000", 4], ["#fff", 2]]) {
          context.strokeStyle = ring;
          context.lineWidth = width * ratio;
          context.stroke();
        }
        if (!text) return;
        context.font = `bold ${11 * ratio}px system-ui`;
        context.fillStyle = "#fff";
        context.textAlign = "center";
        context.textBaseline = "middle";
        context.fillText(text, px(x), py(y));
      });
    },
  };
}

/** A canvas of `columns` × `rows` cells, whose first row is the lowest; `rgba(i, j)` fills it. */
export function cells(columns, rows, rgba) {
  const canvas = new OffscreenCanvas(columns, rows);
  const context = canvas.getContext("2d");
  const data = context.createImageData(columns, rows);
  for (let j = 0; j < rows; j++) {
    for (let i = 0; i < columns; i++) data.data.set(rgba(i, j), 4 * ((rows - 1 - j) * columns + i));
  }
  context.putImageData(data, 0, 0);
  return canvas;
}

/** Draw images (channels × rows × columns, in [0, 1]) side by side, `columns` a row. */
export function drawImages(canvas, images, [channels, height, width], columns = images.length) {
  const gap = images.length > 1 ? 1 : 0;
  const rows = Math.ceil(images.length / columns);
  const [w, h] = [columns * (width + gap) - gap, rows * (height + gap) - gap];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const context = canvas.getContext("2d");
  if (gap) context.clearRect(0, 0, w, h);
  images.forEach((image, k) => {
    const data = context.createImageData(width, height);
    const places = width * height;
    for (let i = 0; i < places; i++) {
      for (let c = 0; c < 3; c++) data.data[4 * i + c] = 255 * image[channels === 1 ? i : c * places + i];
      data.data[4 * i + 3] = 255;
    }
    context.putImageData(data, (k % columns) * (width + gap), Math.floor(k / columns) * (height + gap));
  });
}

/** From a value in [0, 1] to a colour that goes from the ground of the page to the foreground. */
export function shade(value, [r, g, b]) {
  return [r, g, b, 255 * Math.min(Math.max(value, 0), 1)];
}

/** Curves with a legend; `bands` fill between pairs of them. Ranges may be of a power of ten. */
export function makeCurves(parent, { label, xLabel, yLabel, logX = false, logY = false, series, data, bands = [], height = 320, mark = null, marks = null }) {
  const scale = (log) => (log ? { distr: 3, time: false } : { time: false });
  const options = {
    width: Math.max(260, parent.clientWidth),
    height,
    scales: { x: scale(logX), y: scale(logY) },
    axes: [axis(xLabel, AXES.bottom), axis(yLabel, AXES.left + 12)],
    legend: { show: !mark },
    series: [{ label: xLabel, value: (_, v) => short(v, 7) || "point at a curve to read it" }, ...series.map(readable)],
    bands,
    padding: [AXES.margin, 24, 0, 0],
    hooks: { draw: [(plot) => mark && drawMark(plot, mark), (plot) => marks?.().forEach((place) => drawPlace(plot, place))] },
    cursor: { drag: { x: false, y: false }, points: { show: false } },
  };
  const plot = new uPlot(options, data, parent);
  plot.ctx.canvas.setAttribute("role", "img");
  plot.ctx.canvas.setAttribute("aria-label", label);
  const observer = new ResizeObserver(() => plot.setSize({ width: Math.max(260, parent.clientWidth), height }));
  observer.observe(parent);
  const redraw = () => plot.redraw(false);
  redraws.add(redraw);
  return {
    plot,
    destroy() {
      observer.disconnect();
      redraws.delete(redraw);
      plot.destroy();
    },
  };
}

/** A series with its value in the legend where the cursor is. */
function readable(series) {
  return { value: (_, value, __, at) => (at == null ? "" : short(value) || "–"), ...series };
}

/** A vertical line at a value, with a text. */
function drawMark(plot, { value, text }) {
  const { context, ratio } = penOf(plot);
  const { top, height, left, width } = plot.bbox;
  const x = plot.valToPos(value, "x", true);
  const toTheLeft = x > left + width / 2;
  context.fillStyle = colour("latent");
  context.fillRect(x - ratio, top, 2 * ratio, height);
  context.font = `${12 * ratio}px system-ui`;
  context.textAlign = toTheLeft ? "right" : "left";
  context.textBaseline = "top";
  context.fillText(text, x + (toTheLeft ? -6 : 6) * ratio, top + 4 * ratio);
}

/** A place on a curve: a dotted line at its x, and a dot if it has a y. */
function drawPlace(plot, { x, y, stroke }) {
  const pen = penOf(plot);
  const { min, max } = plot.scales.y;
  pen.line([[x, min], [x, max]], stroke, 1, [2, 3]);
  if (y != null) pen.dots([[x, y]], stroke, 5);
}

/** A number for a tick or a text: few digits, a minus sign, powers of ten where they are shorter. */
export function short(value, digits = 3) {
  if (value == null || Number.isNaN(value)) return "";
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e5) ? Number(value.toPrecision(digits)).toExponential() : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−").replace("e+", "e").replace("e-", "e−");
}

