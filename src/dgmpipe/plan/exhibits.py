"""Every figure and table, declared once: rules, report, captions and pages follow from here."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from dgmpipe.config import Config
from dgmpipe.config.kinds import KINDS
from dgmpipe.config.read import unknown_key
from dgmpipe.config.sweeps import Point
from dgmpipe.errors import UserError
from dgmpipe.plan.evaluations import (
    EVALUATIONS,
    PRIORS,
    REAL,
    evaluated_trainings,
    has_paths,
    measurable,
    subjects,
)
from dgmpipe.plan.trainings import trainings

__all__ = [
    "SECTIONS",
    "Exhibit",
    "data_set",
    "exhibits",
    "figure_of_model",
    "has_digits",
    "prior_exhibits",
    "study_exhibits",
]

CLAIMS = "What the paper says"
PROBLEM = "Section 2: the problem and its examples"
FLOWS = "Section 3: normalizing flows"
VAES = "Section 4: variational autoencoder"
GANS = "Section 5: generative adversarial networks, and all generators compared"
STUDIES = "Studies"
SECTIONS = (CLAIMS, PROBLEM, FLOWS, VAES, GANS, STUDIES)

Files = dict[str, list[str]]

# A measure of a study that is no evaluation's: what the training took.
TIME = "training.processor_seconds"


@dataclass(frozen=True)
class Exhibit:
    """A figure or a table.

    Attributes:
        name: Of its rule and of its files.
        title: What it is called.
        section: Where it stands in the report, one of `SECTIONS`.
        function: Module and function that takes the files by name and the params, and returns a
            matplotlib figure or a table.
        files: What it is made of, by name; paths below `<results>/`.
        params: Further arguments of the function.
        caption: Template of its caption, the exhibit's own name by default.
        about: What the caption is told, such as the model.
    """

    name: str
    title: str
    section: str
    function: str
    files: Files
    params: dict[str, Any] = field(default_factory=dict)
    caption: str = ""
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """Dotted name of the module that has the function."""
        return self.function.split(":")[0]

    @property
    def is_figure(self) -> bool:
        """Whether it is a figure, and not a table."""
        return self.module.startswith("dgmpipe.figures")

    @property
    def outputs(self) -> dict[str, str]:
        """Its files by format, below `<results>/`."""
        if self.is_figure:
            return {form: f"figures/{self.name}.{form}" for form in ("png", "pdf")}
        return {"csv": f"tables/{self.name}.csv"}

    @property
    def shown(self) -> str:
        """The first of its files, which pages show."""
        return next(iter(self.outputs.values()))


def _trained(model: str, seed: int, file: str) -> str:
    return f"models/{model}/seed_{seed}/{file}"


def _evaluated(model: str, seed: int, file: str) -> str:
    return f"evaluation/{model}/seed_{seed}/{file}"


def _of_all(config: Config, models: Iterable[str], file: str) -> list[str]:
    return [_evaluated(*training, file) for training in evaluated_trainings(config, models)]


def _of_trainings(config: Config, models: Iterable[str], file: str) -> list[str]:
    return [_trained(model, seed, file) for model in models for seed in config.seeds_of(model)]


def evaluated(config: Config, evaluation: str) -> list[str]:
    """Return the models that an evaluation is done of, by its name."""
    (found,) = (entry for entry in EVALUATIONS if entry.name == evaluation)
    return subjects(config, found)


def named(config: Config, models: Iterable[str]) -> list[str]:
    """Return those of the models that the config names, leaving out the points of sweeps."""
    return [model for model in models if "@" not in model]


def titles(config: Config, models: Iterable[str]) -> list[str]:
    """Return what models are called, real images included."""
    return ["real training images" if m == REAL else config.title(m) for m in models]


def data_set(config: Config) -> str:
    """Return what the images of a config are called."""
    name = config.data.images.name
    return {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}.get(name, name)


def has_digits(config: Config) -> bool:
    """Return whether the images of a config are MNIST's or some of them."""
    return config.data.images.name.split("-")[0] == "mnist"


def _shown(config: Config, model: str, seed: int) -> str:
    """Return a model's title, with the seed where there are several."""
    title = config.title(model)
    return f"{title}, seed {seed}" if seed != config.shown_seed else title


# Figures that each model of an evaluation has; the paper's numbered ones are of these models.
_OF_MODEL = {
    "flow": ("evaluate_flow", "flow.npz", FLOWS, "dgmpipe.figures.figure_flow:from_files"),
    "posterior": ("posterior", "posterior.npz", VAES, "dgmpipe.figures.figure_07:from_files"),
    "latent": ("latent", "latent.npz", VAES, "dgmpipe.figures.figure_08:from_files"),
}
_NUMBERED = {
    ("flow", "realnvp"): ("figure_05_realnvp", "Figure 5: Real NVP"),
    ("flow", "otflow"): ("figure_06_otflow", "Figure 6: OT-Flow"),
    ("posterior", "vae"): ("figure_07_posterior", "Figure 7: posteriors"),
    ("latent", "vae"): ("figure_08_latent", "Figure 8: latent space"),
}


def figure_of_model(config: Config, figure: str, model: str, seed: int) -> Exhibit:
    """Return the figure "flow", "posterior" or "latent" of a model and seed of its own."""
    _, file, section, function = _OF_MODEL[figure]
    name, title = f"{figure}_{model}", f"{figure.capitalize()} of {config.title(model)}"
    params = {}
    if seed == config.shown_seed and (figure, model) in _NUMBERED:
        name, title = _NUMBERED[figure, model]
    if figure == "flow":
        params = {"title": _shown(config, model, seed)}
    about = {"model": model, "seed": seed}
    files = {"arrays": [_evaluated(model, seed, file)]}
    return Exhibit(name, title, section, function, files, params, figure, about)


def exhibits(config: Config) -> list[Exhibit]:
    """Return every figure and table that the models of the config allow, in the paper's order.

    Raises:
        UserError: If the config names an evaluation, or a number of one, that there is not.
    """
    known = ["default", "energy_floor", *(evaluation.name for evaluation in EVALUATIONS)]
    for name in config.cluster.evaluation_minutes:
        if name not in known:
            raise UserError(unknown_key(name, "cluster.evaluation_minutes", known))
    makers: list[Callable[[Config], list[Exhibit]]] = [
        _problem,
        _objective,
        _of_models("flow"),
        _flow_tables,
        _of_models("posterior"),
        _evidence_table,
        _of_models("latent"),
        prior_exhibits,
        _images,
        _training_curves,
        _generator_tables,
        _times,
        study_exhibits,
    ]
    found = [exhibit for make in makers for exhibit in make(config)]
    return [*_claims(config, {exhibit.name for exhibit in found}), *found]


# What the paper's statements are decided by: tables, and the files of these models.
_DECISIVE = (
    *("flows", "otflow_inverse_error", "vae_evidence", "generators", "generator_differences"),
    *("judge", "training_times"),
)
_GANS_OF_THE_PAPER = ("dcgan_random", "dcgan_vae", "wgan_random", "wgan_vae")


def _claims(config: Config, names: set[str]) -> list[Exhibit]:
    """Return the forest plot of the paper's statements about its own models, and its table."""
    flows = [model for model in config.of_family("flow") if model in ("realnvp", "otflow")]
    vaes = [model for model in config.of_family("vae") if model == "vae"]
    planes = [model for model in vaes if model in evaluated(config, "latent")]
    gans = [model for model in config.of_family("gan") if model in _GANS_OF_THE_PAPER]
    if not [*flows, *vaes, *gans]:
        return []
    shown = config.shown_seed
    return [
        Exhibit(
            "claims_figure",
            "Every statement with its effect",
            CLAIMS,
            "dgmpipe.figures.figure_claims:from_files",
            {"table": ["tables/claims.csv"]},
        ),
        Exhibit(
            "claims",
            "Effects of the statements, training by training",
            CLAIMS,
            "dgmpipe.pages.claims:claims_table",
            {
                "tables": [f"tables/{name}.csv" for name in _DECISIVE if name in names],
                "arrays": [
                    *_of_all(config, flows, "flow.npz"),
                    *_of_all(config, planes, "latent.npz"),
                ],
                "histories": _of_trainings(config, gans, "history.csv"),
            },
            {"seeds": [shown, *(seed for seed in config.all_seeds if seed != shown)]},
        ),
    ]


def _problem(config: Config) -> list[Exhibit]:
    found = []
    if "realnvp" in config.models and config.setting("realnvp", "data") == "moons":
        files = {"arrays": [_evaluated("realnvp", config.shown_seed, "flow.npz")]}
        function = "dgmpipe.figures.figure_01:from_files"
        found = [
            Exhibit("figure_01_idea", "Figure 1: a deep generative model", PROBLEM, function, files)
        ]
    return [
        *found,
        Exhibit(
            "figure_02_moons",
            "Figure 2: two moons",
            PROBLEM,
            "dgmpipe.figures.figure_02:from_files",
            {"arrays": ["data/moons.npz"]},
        ),
        Exhibit(
            "figure_03_mnist",
            f"Figure 3: {data_set(config)}",
            PROBLEM,
            "dgmpipe.figures.figure_03:from_files",
            {"arrays": ["data/images.npz"]},
        ),
    ]


def _objective(config: Config) -> list[Exhibit]:
    function = "dgmpipe.figures.figure_04:from_files"
    title = "Figure 4: objective of an affine flow"
    return [Exhibit("figure_04_objective", title, FLOWS, function, {})]


def _of_models(figure: str) -> Callable[[Config], list[Exhibit]]:
    def make(config: Config) -> list[Exhibit]:
        models = named(config, evaluated(config, _OF_MODEL[figure][0]))
        return [figure_of_model(config, figure, model, config.shown_seed) for model in models]

    return make


def _flow_tables(config: Config) -> list[Exhibit]:
    flows = config.of_family("flow")
    tables = "dgmpipe.evaluation.tables"
    if not flows:
        return []
    found = [
        Exhibit(
            "flows",
            "Likelihood and its distance to the truth",
            FLOWS,
            f"{tables}:flows",
            {
                "numbers": _of_all(config, flows, "flow.json"),
                "summaries": _of_trainings(config, flows, "summary.json"),
            },
        ),
        *_summary(config, flows, "flows", "Flows", FLOWS),
    ]
    continuous = [model for model in flows if has_paths(config, model)]
    if continuous:
        found.append(
            Exhibit(
                "otflow_inverse_error",
                "Inverse error of OT-Flow",
                FLOWS,
                f"{tables}:inverse_errors",
                {"numbers": _of_all(config, continuous, "flow.json")},
                {"trainings": evaluated_trainings(config, continuous)},
            )
        )
        keys = ("model", "rk4_steps")
        found += _summary(config, continuous, "otflow_inverse_error", "Inverse error", FLOWS, keys)
    return found


def _summary(
    config: Config,
    models: Iterable[str],
    table: str,
    title: str,
    section: str,
    keys: tuple[str, ...] = ("model",),
) -> list[Exhibit]:
    """Return the table of means and deviations over the seeds of another table, if any."""
    if all(len(evaluated_trainings(config, [model])) == 1 for model in models):
        return []
    function = "dgmpipe.evaluation.tables:mean_and_deviation"
    files, params = {"table": [f"tables/{table}.csv"]}, {"keys": list(keys)}
    title = f"{title}, mean and deviation over seeds"
    return [Exhibit(f"{table}_summary", title, section, function, files, params, "summary")]


def _evidence_table(config: Config) -> list[Exhibit]:
    models = evaluated(config, "evidence")
    if not models:
        return []
    return [
        Exhibit(
            "vae_evidence",
            "Evidence and its lower bound",
            VAES,
            "dgmpipe.evaluation.tables:numbers_of",
            {"numbers": _of_all(config, models, "evidence.json")},
            {"trainings": evaluated_trainings(config, models)},
        ),
        *_summary(config, models, "vae_evidence", "Evidence", VAES),
    ]


def prior_exhibits(config: Config) -> list[Exhibit]:
    """Return the table of the VAEs' priors, and for each VAE the figure of its priors."""
    models = named(config, evaluated(config, "other_priors"))
    if not models:
        return []
    figures = [
        Exhibit(
            f"priors_{model}",
            f"Priors of {config.title(model)}",
            VAES,
            "dgmpipe.figures.figure_priors:from_files",
            {"arrays": [_evaluated(model, config.shown_seed, "prior.npz")]},
            {"titles": dict(zip(PRIORS, _prior_titles(config), strict=True))},
            "figure_priors",
            {"model": model},
        )
        for model in models
    ]
    table = Exhibit(
        "priors",
        "Priors of the VAEs",
        VAES,
        "dgmpipe.evaluation.tables:priors",
        {"numbers": _of_all(config, models, "prior.json")},
        {"trainings": evaluated_trainings(config, models), "priors": list(PRIORS)},
    )
    return [*figures, table]


def _prior_titles(config: Config) -> tuple[str, str, str]:
    prior = config.evaluation.prior
    assert prior is not None
    return "N(0, I)", f"mixture of {prior.components}", KINDS[prior.flow].title


def _images(config: Config) -> list[Exhibit]:
    models = named(config, evaluated(config, "generate_images"))
    if not models:
        return []
    # Figure 10 has a row a kind of model, as in the paper: of a GAN the one that starts from a VAE.
    started = {config.models[m].kind for m in models if config.models[m].start}
    lines = [m for m in models if config.kind(m).family != "diffusion"]
    rows = [m for m in lines if config.models[m].start or config.models[m].kind not in started]

    def samples(models: list[str]) -> list[str]:
        return [_evaluated(model, config.shown_seed, "samples.npz") for model in models]

    figure_09 = Exhibit(
        "figure_09_samples",
        "Figure 9: samples",
        GANS,
        "dgmpipe.figures.figure_09:from_files",
        {"images": ["data/images.npz"], "samples": samples(models)},
        {"titles": titles(config, models)},
    )
    if not rows:
        return [figure_09]
    figure_10 = Exhibit(
        "figure_10_interpolation",
        "Figure 10: interpolation",
        GANS,
        "dgmpipe.figures.figure_10:from_files",
        {"samples": samples(rows)},
        {"titles": titles(config, rows)},
    )
    return [figure_09, figure_10]


def _training_curves(config: Config) -> list[Exhibit]:
    gans = named(config, config.of_family("gan"))
    kinds = [name for name, kind in KINDS.items() if kind.family == "gan"]
    if not gans:
        return []
    return [
        Exhibit(
            "figure_11_energy_distance",
            "Figure 11: energy distance over training",
            GANS,
            "dgmpipe.figures.figure_11:from_files",
            {
                "histories": _of_trainings(config, gans, "history.csv"),
                "floor": ["evaluation/energy_floor.npz"],
            },
            {
                "curves": [
                    {
                        "colour": kinds.index(config.models[m].kind),
                        "start": (start := config.models[m].start) and config.title(start),
                        "title": config.title(m),
                        "seeds": len(config.seeds_of(m)),
                    }
                    for m in gans
                ],
            },
        )
    ]


def _generator_tables(config: Config) -> list[Exhibit]:
    sources, judged = evaluated(config, "energy_test"), evaluated(config, "sample_quality")
    tables = "dgmpipe.evaluation.tables"
    if not sources:
        return []
    found = [
        Exhibit(
            "generators",
            "Generators against the test images",
            GANS,
            f"{tables}:generators",
            {
                "energy": _of_all(config, sources, "energy.json"),
                "quality": _of_all(config, judged, "quality.json"),
            },
            {"trainings": evaluated_trainings(config, sources)},
        ),
        Exhibit(
            "generators_summary",
            "Generators, mean and deviation over seeds",
            GANS,
            f"{tables}:mean_and_deviation",
            {"table": ["tables/generators.csv"]},
            caption="summary",
        ),
    ]
    compared = named(config, sources)
    found.append(
        Exhibit(
            "generator_differences",
            "Generators against one another",
            GANS,
            "dgmpipe.evaluation.differences:differences",
            {
                "numbers": _of_all(config, compared, "energy.json"),
                "contributions": _of_all(config, compared, "energy.npz"),
            },
            {
                "trainings": evaluated_trainings(config, compared),
                # A pixel flow's latent points have the pixels' dimensions, which are the data's.
                "latent_dims": {
                    m: config.setting(m, "latent_dim") or "pixels" for m in compared if m != REAL
                },
                "clusters": config.data.images.test_clusters.model_dump(),
            },
        )
    )
    keys = ("first", "second")
    title = "Generators against one another"
    found += _summary(config, compared, "generator_differences", title, GANS, keys)
    found.append(
        Exhibit(
            "transport",
            "Cost of transport to the test images",
            GANS,
            f"{tables}:numbers_of",
            {"numbers": _of_all(config, sources, "transport.json")},
            {"trainings": evaluated_trainings(config, sources)},
        )
    )
    if critics := evaluated(config, "examine_critic"):
        found.append(
            Exhibit(
                "critics",
                "Critics against the distance that they are to measure",
                GANS,
                f"{tables}:numbers_of",
                {"numbers": _of_all(config, critics, "critic.json")},
                {"trainings": evaluated_trainings(config, critics)},
            )
        )
    if judged:
        digits = "Digits" if has_digits(config) else "Classes"
        found.append(
            Exhibit(
                "class_histograms",
                f"{digits} that the generators draw",
                GANS,
                f"{tables}:class_histograms",
                {"classes": _of_all(config, judged, "classes.csv")},
                {"trainings": evaluated_trainings(config, judged)},
            )
        )
        keys = ("model", "digit")
        found += _summary(config, judged, "class_histograms", digits, GANS, keys)
        (judge,) = config.of_family("judge")
        found.append(
            Exhibit(
                "judge",
                "What the judge of the images can tell",
                GANS,
                f"{tables}:judge",
                {"table": [_evaluated(judge, config.shown_seed, "judge.csv")]},
            )
        )
    return found


def _times(config: Config) -> list[Exhibit]:
    judges = [] if evaluated(config, "sample_quality") else config.of_family("judge")
    timed = [(model, seed) for model, seed in trainings(config) if model not in judges]
    if not timed:
        return []
    return [
        Exhibit(
            "training_times",
            "Time and memory of the trainings",
            GANS,
            "dgmpipe.evaluation.tables:training_times",
            {
                "summaries": [_trained(m, s, "summary.json") for m, s in timed],
                "times": [_trained(m, s, "time.json") for m, s in timed],
                "benchmarks": [f"benchmarks/train/{m}_seed_{s}.tsv" for m, s in timed],
            },
        ),
        *_summary(
            config,
            dict(timed),
            "training_times",
            "Time and memory of the trainings",
            GANS,
            ("model", "device"),
        ),
    ]


def _posteriors(config: Config, study: str, models: list[str], about: dict[str, Any]) -> Exhibit:
    """Return the figure of the posteriors of Figure 7's images under each model of a study."""
    return Exhibit(
        f"study_{study}_posteriors",
        f"Study {study}: posteriors",
        VAES,
        "dgmpipe.figures.figure_posteriors:from_files",
        {"arrays": [_evaluated(model, config.shown_seed, "posterior.npz") for model in models]},
        {"titles": [config.title(model) for model in models]},
        "study_posteriors",
        about | {"models": models},
    )


def _image_flows(
    config: Config, study: str, points: list[Point], flows: list[str], about: dict[str, Any]
) -> list[Exhibit]:
    """Return the figure of the image flows of a study by their solvers, and that of all samples."""
    seed, drawn = config.shown_seed, evaluated(config, "generate_images")
    models = [point.name for point in points if point.name in drawn]
    return [
        Exhibit(
            f"study_{study}_solvers",
            f"Study {study}: solvers",
            GANS,
            "dgmpipe.figures.figure_solvers:from_files",
            {"tables": [_evaluated(model, seed, "solvers.csv") for model in flows]},
            {"titles": titles(config, flows)},
            "study_solvers",
            about,
        ),
        Exhibit(
            f"study_{study}_samples",
            f"Study {study}: samples",
            GANS,
            "dgmpipe.figures.figure_09:from_files",
            {
                "images": ["data/images.npz"],
                "samples": [_evaluated(model, seed, "samples.npz") for model in models],
            },
            {"titles": titles(config, models)},
            "study_samples",
            about,
        ),
    ]


def _measured(config: Config, name: str) -> tuple[Files, dict[str, list[str]]]:
    """Return by source, such as "flow", the files of a study's measures and the models they are of.

    Raises:
        UserError: If a measure is none.
    """
    study, points = config.studies[name], config.points(name)
    files: Files = {}
    models: dict[str, list[str]] = {}
    for measure in study.numbers:
        source, _, number = measure.partition(".")
        key = "measures" if measure in study.measures else "lines"
        at = f"studies.{name}.{key} names {measure}"
        if measure == TIME:
            models[source] = [point.name for point in points]
            files[source] = _of_trainings(config, models[source], "time.json")
            continue
        if source not in measurable():
            raise UserError(
                f"{at}; what can be measured is {', '.join(measurable())}, as in flow.kl"
            )
        evaluation = measurable()[source]
        able = subjects(config, evaluation)
        models[source] = [point.name for point in points if point.name in able]
        if not models[source]:
            asked = f"point of {study.sweep}" if study.sweep else "of its models"
            raise UserError(f"{at}; there is no {source} of any {asked}")
        known = {n for model in models[source] for n in evaluation.numbers(config, model)}
        if number not in known:
            raise UserError(f"{at}; of {source} there is {', '.join(sorted(known))}")
        files[source] = _of_all(config, models[source], evaluation.outputs["numbers"])
    return files, models


def study_exhibits(config: Config) -> list[Exhibit]:
    """Return the table and the figure of each study.

    Raises:
        UserError: If a study measures what there is not.
    """
    found: list[Exhibit] = []
    for name, study in config.studies.items():
        points = config.points(name)
        files, models = _measured(config, name)
        drawn: dict[str, Any] = {
            "x": study.x or "model",
            "measures": study.measures,
            "titles": {point.model: config.title(point.model) for point in points},
            "keys": [key for key in points[0].values if key not in (study.x, study.y)],
            "log_y": study.log_y,
        }
        if study.y:
            draw = "figure_map"
            drawn |= {"y": study.y}
        else:
            draw = "figure_study"
            drawn |= {"log_x": study.log_x, "lines": study.lines}
        about = {"study": name, "question": study.question, "note": study.note}
        table = f"study_{name}"
        if "split" in models:
            found.append(_posteriors(config, name, models["split"], about))
        if "solvers" in models:
            found += _image_flows(config, name, points, models["solvers"], about)
        found += [
            Exhibit(
                f"{table}_figure",
                f"Study {name}",
                STUDIES,
                f"dgmpipe.figures.{draw}:from_files",
                {"table": [f"tables/{table}.csv"]},
                drawn,
                "study",
                about,
            ),
            Exhibit(
                table,
                f"Study {name}: numbers",
                STUDIES,
                "dgmpipe.evaluation.studies:study_table",
                files,
                {
                    "points": [
                        {
                            "name": point.name,
                            "model": point.model,
                            "values": point.values,
                            "seeds": config.seeds_of(point.name),
                        }
                        for point in points
                    ],
                    "models": models,
                    "measures": study.numbers,
                },
                "study",
                about,
            ),
        ]
    return found
