"""Makes the companion of a tier's weights, histories and tables: one file that needs no other."""

import json
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from dgmpipe.evaluation.floor import floor_level
from dgmpipe.pages.companion.packing import encoded, packed_snapshots

__all__ = ["companion_page"]

_HERE = Path(__file__).parent
# Below each other, as the later ones use what the earlier ones export.
_SCRIPTS = ("data", "networks", "flows", "energy", "plots", "state")
_PARTS = ("explorer", "posterior", "transport", "testing", "snapshots", "training", "main")

# Bytes of the page; what does not fit is named, for which there is place besides.
_LIMIT = 2_990_000
_NUM_IMAGES = 200

_Files = Mapping[str, Sequence[str | Path]]


def companion_page(
    files: _Files,
    *,
    tier: str,
    models: Sequence[Mapping[str, Any]],
    trainings: Sequence[tuple[str, int]],
    posterior_images: Sequence[int],
) -> str:
    """Return the page, HTML that asks for nothing from outside.

    What the page has no place or no code for, it names. Weights are float32, as they were trained.

    Args:
        files: Paths by what they are: `weights` and `summaries` of the models, `histories` of the
            trainings; if the tier has them `snapshots` of generators and flows, `images` (those
            that models are trained on), `evidence` of VAEs, the tables `generators` and
            `inverse_errors`, and the `floor` of Figure 11.
        tier: Name of the tier.
        models: Of each of the models its `name`, `title`, `family`, the `start` that it has the
            generator of or None and, if its data are moons, their `noise`, the most important
            first.
        trainings: Model and seed of each history.
        posterior_images: Positions of the test images that Figure 7 shows.
    """
    header: dict[str, Any] = {
        "tier": tier,
        "models": [],
        "snapshots": [],
        "leftOut": [],
        "images": _images(files, posterior_images),
        "histories": _histories(files["histories"], trainings),
        "titles": {model["name"]: model["title"] for model in models},
        "starts": {model["name"]: model["start"] for model in models if model["start"]},
        "families": {model["name"]: model["family"] for model in models},
        "generators": _rows(files, "generators", ("model", "seed", "energy_distance")),
        "inverseErrors": _rows(
            files, "inverse_errors", ("model", "seed", "rk4_steps", "inverse_error_double")
        ),
        "floor": _floor(files),
    }
    space = _LIMIT - len(_rendered(header).encode())

    def add(what: str, found: Mapping[str, Any], name: str) -> None:
        nonlocal space
        size = len(_json(found)) + 1
        if size > space:
            header["leftOut"].append(f"{name}: with it, the page would be above 3 MB")
            return
        space -= size
        header[what].append(found)

    for model, weights, summary in zip(models, files["weights"], files["summaries"], strict=True):
        about = json.loads(Path(summary).read_text(encoding="utf-8"))
        try:
            add("models", _packed(model, about, load_file(weights)), model["title"])
        except LookupError as error:
            header["leftOut"].append(f"{model['title']}: {error.args[0]}")
    # Weights have the first places.
    titles = header["titles"]
    for path in map(Path, files.get("snapshots", ())):
        found = packed_snapshots(path)
        if found:
            name, seed = path.parents[1].name, int(path.parent.name.removeprefix("seed_"))
            found |= {"model": name, "seed": seed}
            add("snapshots", found, f"samples in training, {titles[name]}")
    return _rendered(header)


def _rendered(header: Mapping[str, Any]) -> str:
    """Return the page of what it is to carry."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html").render(
        tier=header["tier"],
        style=_text("vendor/uPlot.min.css") + _text("style.css"),
        library=_text("vendor/uPlot.iife.min.js"),
        script=_joined([*_SCRIPTS, *_PARTS]),
        header=_json(header).replace("</", "<\\/"),
    )


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _joined(modules: Sequence[str]) -> str:
    """Return ES modules as one: a page in a sandbox cannot import others."""
    text = "\n".join(_text(f"{module}.js") for module in modules)
    text = re.sub(r"^import [^;]*;\n", "", text, flags=re.M)
    return re.sub(r"^export (?=(async )?(function|class|const)\b)", "", text, flags=re.M)


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _packed(
    model: Mapping[str, Any], summary: Mapping[str, Any], state: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Return a model as the page reads it.

    Raises:
        LookupError: If the page has no code for it.
    """
    settings, family = summary["hyperparameters"], model["family"]
    tensors = _wanted(family, summary["kind"], state)
    offsets, at = {}, 0
    for name, tensor in tensors.items():
        offsets[name] = [at, list(tensor.shape)]
        at += tensor.size
    flat = np.concatenate([t.ravel() for t in tensors.values()]).astype("<f4")
    # First bytes first: signs and exponents of weights are much alike, and deflate well together.
    planes = flat.view(np.uint8).reshape(-1, 4).T.tobytes()
    return {
        "name": model["name"],
        "title": model["title"],
        "family": family,
        "kind": summary["kind"],
        "seed": summary["seed"],
        "parameters": summary["parameters"],
        "noise": model.get("noise"),
        "latentDim": settings.get("latent_dim", 2),
        "imageShape": settings.get("image_shape", [1, 28, 28]),
        "likelihood": settings.get("likelihood", "bernoulli"),
        "rk4Steps": settings.get("evaluation_rk4_steps"),
        "standardised": bool(settings.get("standardised")),
        "tensors": offsets,
        "weights": encoded(planes, zlib.Z_HUFFMAN_ONLY),
    }


_LAYERS = {
    # A linear layer, a batch norm, a transposed convolution, a batch norm, another convolution.
    "generator": {f"generator.layers.{i}.weight" for i in (0, 1, 3, 4, 6)},
    "encoder": {f"encoder.{name}.weight" for name in ("features.0", "features.2", "mean")},
    "judge": {f"layers.{i}.weight" for i in (0, 1, 3, 4, 6)} | {"output.weight"},
}


def _wanted(family: str, kind: str, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return those tensors that generate, encode or judge.

    Raises:
        LookupError: If the page has no code for them.
    """
    if family == "flow":
        prefixes, known = [""], kind in ("realnvp", "otflow")
    else:
        prefixes = {"vae": ["generator.", "encoder."], "gan": ["generator."], "judge": [""]}[family]
        parts = {"vae": ["generator", "encoder"], "gan": ["generator"], "judge": ["judge"]}[family]
        known = all(_LAYERS[part] <= state.keys() for part in parts)
    if not known:
        raise LookupError(f"the page has no code for the kind {kind}")
    return {
        name: tensor
        for name, tensor in state.items()
        if name.startswith(tuple(prefixes)) and not name.endswith("num_batches_tracked")
    }


def _images(files: _Files, posterior_images: Sequence[int]) -> dict[str, Any] | None:
    """Return test images: those of Figure 7, then some of those whose evidence is known."""
    if not files.get("images"):
        return None
    from dgmpipe.data.images import load_images

    pixels, labels = load_images(Path(files["images"][0]).parent, "t10k")
    evidence = {
        Path(path).parents[1].name: pd.read_csv(path).set_index("index")
        for path in files.get("evidence", [])
    }
    known = list(next(iter(evidence.values())).index) if evidence else list(range(len(pixels)))
    count = min(_NUM_IMAGES, len(known))
    others = [known[i * len(known) // count] for i in range(count)]
    first = [index for index in posterior_images if index < len(pixels)]
    chosen = list(dict.fromkeys([*first, *others]))[:_NUM_IMAGES]
    shown = pixels[chosen].numpy()
    return {
        "index": chosen,
        "shape": [1, *shown.shape[1:]] if shown.ndim == 3 else list(shown.shape[1:]),
        "labels": None if labels is None else labels[chosen].tolist(),
        "evidence": {
            model: {
                str(index): _rounded(table.loc[index, ["log_evidence", "elbo"]])
                for index in chosen
                if index in table.index
            }
            for model, table in evidence.items()
        },
        "pixels": encoded(shown.tobytes()),
    }


def _histories(
    paths: Sequence[str | Path], trainings: Sequence[tuple[str, int]]
) -> list[dict[str, Any]]:
    found = []
    for path, (model, seed) in zip(paths, trainings, strict=True):
        table = pd.read_csv(path)
        columns = {name: _rounded(table[name]) for name in table if name != "step"}
        found.append(
            {"model": model, "seed": seed, "steps": table["step"].tolist(), "columns": columns}
        )
    return found


def _rows(files: _Files, name: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return some columns of a table that the tier may not have."""
    if not files.get(name):
        return []
    table = pd.read_csv(files[name][0])
    return json.loads(table[list(columns)].to_json(orient="records"))


def _floor(files: _Files) -> float | None:
    """Return what real training images come to in Figure 11, if the tier has GANs."""
    if not files.get("floor"):
        return None
    return floor_level(np.load(files["floor"][0])["energy_distances"])


def _rounded(values: Any) -> list[float | None]:
    """Return numbers to seven digits, and nothing for those that are not finite."""
    return [float(f"{v:.7g}") if math.isfinite(v) else None for v in map(float, values)]
