// Unpacks the models, gives them to the parts, and says what there is not.

import { unpack } from "./data.js";
import { energyTest, randomStream, statistics, distances } from "./energy.js";
import { startExplorer } from "./explorer.js";
import { makeFlow, moonsLogProb } from "./flows.js";
import { makeEncoder, makeGenerator, makeJudge } from "./networks.js";
import { startPosterior } from "./posterior.js";
import { element, make } from "./state.js";
import { startEnergy } from "./testing.js";
import { startTraining } from "./training.js";
import { startFlows } from "./transport.js";

const header = await unpack();
const work = { frames: 0, images: 0 };
const of = (...families) => header.models.filter((model) => families.includes(model.family));
const generators = of("vae", "gan").map((model) => ({ model, generator: makeGenerator(model) }));
const judges = of("judge").map(makeJudge);
const isGrey = String(header.images?.shape) === "1,28,28";
const judge = isGrey ? judges[0] : undefined;
const encoders = new Map(of("vae").map((model) => [model.name, makeEncoder(model)]));
const flows = new Map(of("flow").map((model) => [model.name, makeFlow(model)]));

document.getElementById("waiting").remove();
document.querySelector('[data-name="about"]').textContent = `Models of seed ${header.models[0]?.seed ?? "–"}: ${header.models.map((model) => `${model.title} (${model.parameters.toLocaleString("en")} parameters)`).join(", ")}.`;
document.querySelector('[data-name="left-out"]').replaceChildren(
  ...header.leftOut.map((text) => make("li", { textContent: `Left out: ${text}.` })),
);
// A page in a frame has no report beside it.
if (window.parent !== window) document.querySelectorAll("a.report").forEach((link) => link.remove());
else window.addEventListener("hashchange", () => location.hash.includes("?") && location.reload());

const api = {};
start("explorer", generators.length > 0, "This tier has no generator of images.", () => {
  api.explorer = startExplorer(generators, judge, work);
});
const planar = generators.filter(({ model }) => model.family === "vae" && model.latentDim === 2);
start("posterior", planar.length > 0 && header.images, "This tier has no VAE with two latent dimensions, whose posterior could be computed on the plane.", () => {
  api.posterior = startPosterior(planar, encoders, header.images);
});
start("flows", flows.size > 0, "This tier has no flow that this page has code for.", () => {
  startFlows(of("flow"), flows, header.inverseErrors);
});
start("energy", true, "", () => startEnergy(generators, header));
start("training", header.histories.length > 0, "This tier has no trainings.", () => startTraining(header));
if (location.hash) document.querySelector(location.hash.split("?")[0].replace(/[^#\w-]/g, ""))?.scrollIntoView();

function start(part, there, sentence, begin) {
  if (there) return begin();
  element(part, "content").hidden = true;
  Object.assign(element(part, "missing"), { hidden: false, textContent: sentence });
}

/** For tests and the curious: what the models make of points and images, and the work done. */
window.dgmpipe = {
  header,
  work,
  ...api,
  models: Object.fromEntries(header.models.map((model) => [model.name, {
    image: generators.find((entry) => entry.model === model)?.generator.image,
    logits: generators.find((entry) => entry.model === model)?.generator.logits,
    encode: encoders.get(model.name),
    judge: model.family === "judge" ? makeJudge(model) : undefined,
    flow: flows.get(model.name),
  }])),
  moonsLogProb,
  energyTest: (x, y, permutations) => energyTest(x, y, permutations, randomStream(0)),
  statistics: (points, first) => statistics(distances(points), points.length, first),
  /** Move the explorer's point along a circle for some frames; frames a second and work a frame. */
  async benchmark(frames = 60) {
    const begin = performance.now();
    for (let k = 0; k < frames; k++) {
      const angle = (2 * Math.PI * k) / frames;
      api.explorer.moveTo([1.5 * Math.cos(angle), 1.5 * Math.sin(angle)]);
      await new Promise((resolve) => requestAnimationFrame(() => resolve()));
    }
    return (1000 * frames) / (performance.now() - begin);
  },
};
document.documentElement.dataset.ready = "yes";
