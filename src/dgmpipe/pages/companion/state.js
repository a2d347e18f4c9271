// What the parts share: the address, work in slices, elements by name, texts for readers.

// Columns of the histories: in words, the paper's equation, the unit.
const WORDS = {
  held_out_nll: ["negative log-likelihood of held-out points", "eq. (8)", "nats"],
  held_out_negative_elbo: ["negative lower bound (ELBO) of held-out images", "eq. (22)", "nats"],
  energy_distance: ["energy distance from held-out images"],
  nll: ["negative log-likelihood of the batches", "eq. (8)", "nats"],
  transport: ["transport cost", "eq. (19)"],
  hjb: ["violation of the HJB equation", "eq. (19)"],
  loss: ["loss of the batches"],
  discriminator_loss: ["loss of the discriminator", "eq. (31)"],
  generator_loss: ["loss of the generator"],
  critic_distance: ["distance that the critic sees", "eq. (35)"],
  held_out_cross_entropy: ["cross-entropy on held-out images", "", "nats"],
  held_out_accuracy: ["share of held-out images read right"],
  made_up_rejected: ["share of made-up images rejected"],
};

/** A column of a history in words, with the paper's equation and its unit, which may be "". */
export function wordsOf(column) {
  const [name, equation = "", unit = ""] = WORDS[column] ?? [column.replaceAll("_", " ")];
  return { name, equation, unit };
}

/** Return an element of a part by its `data-name`. */
export function element(part, name) {
  return document.querySelector(`#${part} [data-name="${name}"]`);
}

/** Make an element with attributes and what it contains. */
export function make(tag, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

/** Fill a choice with {value, text} and call `change(value)` when it changes. */
export function fillChoice(select, options, change) {
  select.replaceChildren(...options.map(({ value, text }) => make("option", { value, textContent: text })));
  select.addEventListener("change", () => change(select.value));
}

/** Call a function at most once a frame, however often it is asked for. */
export function oncePerFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}

/** Call a function when nobody has asked for it any more for some milliseconds. */
export function whenQuiet(work, milliseconds = 200) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, milliseconds);
  };
}

/**
 * Do a long work in slices of ten milliseconds, so that the page answers all the while: `step(k)`
 * for k below `count`, then `done()`. Returns what cancels it.
 */
export function inSlices(count, step, { progress, done }) {
  let k = 0;
  let cancelled = false;
  const slice = () => {
    if (cancelled) return;
    const end = performance.now() + 10;
    while (k < count && performance.now() < end) step(k++);
    progress?.(k / count);
    if (k < count) setTimeout(slice);
    else done();
  };
  setTimeout(slice);
  return () => {
    cancelled = true;
  };
}

/** Call a function once, when a part comes into sight. */
export function whenSeen(part, work) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    work();
  });
  observer.observe(document.getElementById(part));
}

const says = new Map();

/** Say in a part's text for readers what its pictures show; screen readers hear it when it rests. */
export function say(part, text) {
  element(part, "shown").textContent = text;
  if (!says.has(part)) {
    says.set(part, whenQuiet(() => (element(part, "spoken").textContent = element(part, "shown").textContent), 600));
  }
  says.get(part)();
}

/** Return what the address says of a part, as text by name. */
export function fromAddress(part) {
  const [name, query] = location.hash.slice(1).split("?");
  return name === part ? Object.fromEntries(new URLSearchParams(query)) : {};
}

let used = "";
for (const event of ["pointerdown", "keydown", "input"]) {
  document.addEventListener(event, ({ target }) => (used = target.closest?.("section")?.id ?? used), true);
}

const settle = whenQuiet(() => {
  try {
    history.replaceState(null, "", element(used, "permalink").getAttribute("href"));
  } catch {
    // In a sandbox the address may not be changed; the permalink still has it.
  }
}, 300);

/** Put what a part shows into its permalink, and into the address if the part was used last. */
export function toAddress(part, values) {
  element(part, "permalink").href = `#${part}?${new URLSearchParams(values)}`;
  if (part === used) settle();
}

/** Return the two numbers of "a,b", or others if it is not that. */
export function pair(text, others) {
  const numbers = (text ?? "").split(",").map(Number);
  return text && numbers.length === 2 && numbers.every(Number.isFinite) ? numbers : others;
}

/** Move a point by the arrow keys, by less with Shift; return whether the key was one. */
export function moveByKey(point, event, limit, step = 0.1) {
  const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (!by) return false;
  const size = event.shiftKey ? step / 10 : step;
  for (const d of [0, 1]) point[d] = clamp(point[d] + size * by[d], -limit, limit);
  return true;
}

export function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}

export function signed(value, digits = 2) {
  return value.toFixed(digits).replace("-", "−");
}
