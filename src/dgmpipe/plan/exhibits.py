"""Every figure and table, declared once: rules, report, captions and pages follow from here."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from dgmpipe.config import Config
from dgmpipe.config.kinds import KINDS
from dgmpipe.errors import UserError
from dgmpipe.plan.evaluations import EVALUATIONS, PRIORS, REAL, measurable, subjects
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

PROBLEM = "Section 2: the problem and its examples"
FLOWS = "Section 3: normalizing flows"
VAES = "Section 4: variational autoencoder"
GANS = "Section 5: generative adversarial networks, and all generators compared"
STUDIES = "Studies"
SECTIONS = (PROBLEM, FLOWS, VAES, GANS, STUDIES)

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
    return [_evaluated(model, seed, file) for model in models for seed in config.seeds]


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
    return f"{title}, seed {seed}" if seed != config.seeds[0] else title


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
    if seed == config.seeds[0] and (figure, model) in _NUMBERED:
        name, title = _NUMBERED[figure, model]
    if figure == "flow":
        params = {"title": _shown(config, model, seed)}
    about = {"model": model, "seed": seed}
    files = {"arrays": [_evaluated(model, seed, file)]}
    return Exhibit(name, title, section, function, files, params, figure, about)


def exhibits(config: Config) -> list[Exhibit]:
    """Return every figure and table that the models of the config allow, in the paper's order."""
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
    return [exhibit for make in makers for exhibit in make(config)]


def _problem(config: Config) -> list[Exhibit]:
    found = []
    if "realnvp" in config.models and config.setting("realnvp", "data") == "moons":
        files = {"arrays": [_evaluated("realnvp", config.seeds[0], "flow.npz")]}
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
        return [figure_of_model(config, figure, model, config.seeds[0]) for model in models]

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
                "summaries": [_trained(m, s, "summary.json") for m in flows for s in config.seeds],
            },
        ),
        *_summary(config, "flows", "Flows, mean and deviation over seeds", FLOWS),
    ]
    continuous = [model for model in flows if config.models[model].kind == "otflow"]
    if continuous:
        found.append(
            Exhibit(
                "otflow_inverse_error",
                "Inverse error of OT-Flow",
                FLOWS,
                f"{tables}:inverse_errors",
                {"numbers": _of_all(config, continuous, "flow.json")},
                {"models": continuous, "seeds": config.seeds},
            )
        )
    return found


def _summary(config: Config, table: str, title: str, section: str) -> list[Exhibit]:
    """Return the table of means and deviations over the seeds of another table."""
    if len(config.seeds) == 1:
        return []
    function = "dgmpipe.evaluation.tables:mean_and_deviation"
    files = {"table": [f"tables/{table}.csv"]}
    return [Exhibit(f"{table}_summary", title, section, function, files, caption="summary")]


def _evidence_table(config: Config) -> list[Exhibit]:
    models = evaluated(config, "evidence")
    if not models:
        return []
    return [
        Exhibit(
            "vae_evidence",
            "Evidence and its lower bound",
            VAES,
            "dgmpipe.evaluation.tables:evidence",
            {"numbers": _of_all(config, models, "evidence.json")},
            {"models": models, "seeds": config.seeds},
        ),
        *_summary(config, "vae_evidence", "Evidence, mean and deviation over seeds", VAES),
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
            {"arrays": [_evaluated(model, config.seeds[0], "prior.npz")]},
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
        {"models": models, "seeds": config.seeds, "priors": list(PRIORS)},
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
    rows = [m for m in models if config.models[m].start or config.models[m].kind not in started]

    def samples(models: list[str]) -> list[str]:
        return [_evaluated(model, config.seeds[0], "samples.npz") for model in models]

    return [
        Exhibit(
            "figure_09_samples",
            "Figure 9: samples",
            GANS,
            "dgmpipe.figures.figure_09:from_files",
            {"images": ["data/images.npz"], "samples": samples(models)},
            {"titles": titles(config, models)},
        ),
        Exhibit(
            "figure_10_interpolation",
            "Figure 10: interpolation",
            GANS,
            "dgmpipe.figures.figure_10:from_files",
            {"samples": samples(rows)},
            {"titles": titles(config, rows)},
        ),
    ]


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
                "histories": [_trained(m, s, "history.csv") for m in gans for s in config.seeds],
                "floor": ["evaluation/energy_floor.npz"],
            },
            {
                "curves": [
                    {
                        "colour": kinds.index(config.models[m].kind),
                        "start": (start := config.models[m].start) and config.title(start),
                        "title": config.title(m),
                    }
                    for m in gans
                ],
                "seeds": config.seeds,
            },
        )
    ]


def _generator_tables(config: Config) -> list[Exhibit]:
    sources, judged = evaluated(config, "energy_test"), evaluated(config, "sample_quality")
    tables, seeds = "dgmpipe.evaluation.tables", config.seeds
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
            {"models": sources, "seeds": seeds},
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
                "models": compared,
                "seeds": seeds,
                "latent_dims": {m: config.setting(m, "latent_dim") for m in compared if m != REAL},
                "clusters": config.data.images.test_clusters.model_dump(),
            },
        )
    )
    if judged:
        found.append(
            Exhibit(
                "class_histograms",
                f"{'Digits' if has_digits(config) else 'Classes'} that the generators draw",
                GANS,
                f"{tables}:class_histograms",
                {"classes": _of_all(config, judged, "classes.csv")},
                {"models": judged, "seeds": seeds},
            )
        )
        (judge,) = config.of_family("judge")
        found.append(
            Exhibit(
                "judge",
                "What the judge of the images can tell",
                GANS,
                f"{tables}:judge",
                {"table": [_evaluated(judge, seeds[0], "judge.csv")]},
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
        )
    ]


def _posteriors(config: Config, study: str, models: list[str], about: dict[str, Any]) -> Exhibit:
    """Return the figure of the posteriors of Figure 7's images under each model of a study."""
    return Exhibit(
        f"study_{study}_posteriors",
        f"Study {study}: posteriors",
        VAES,
        "dgmpipe.figures.figure_posteriors:from_files",
        {"arrays": [_evaluated(model, config.seeds[0], "posterior.npz") for model in models]},
        {"titles": [config.title(model) for model in models]},
        "study_posteriors",
        about | {"models": models},
    )


def study_exhibits(config: Config) -> list[Exhibit]:
    """Return the table and the figure of each study.

    Raises:
        UserError: If a study measures what there is not.
    """
    found = []
    for name, study in config.studies.items():
        points = config.sweeps[study.sweep]
        files: Files = {}
        models: dict[str, list[str]] = {}
        for measure in study.measures:
            source, _, number = measure.partition(".")
            at = f"studies.{name}.measures names {measure}"
            if measure == TIME:
                models[source] = [point.name for point in points]
                files[source] = [
                    _trained(m, s, "time.json") for m in models[source] for s in config.seeds
                ]
                continue
            if source not in measurable():
                raise UserError(
                    f"{at}; what can be measured is {', '.join(measurable())}, as in flow.kl"
                )
            evaluation = measurable()[source]
            able = subjects(config, evaluation)
            models[source] = [point.name for point in points if point.name in able]
            if not models[source]:
                raise UserError(f"{at}; there is no {source} of any point of {study.sweep}")
            known = {n for model in models[source] for n in evaluation.numbers(config, model)}
            if number not in known:
                raise UserError(f"{at}; of {source} there is {', '.join(sorted(known))}")
            files[source] = _of_all(config, models[source], evaluation.outputs["numbers"])
        about = {"study": name, "question": study.question, "note": study.note}
        table = f"study_{name}"
        if "split" in models:
            found.append(_posteriors(config, name, models["split"], about))
        found += [
            Exhibit(
                f"{table}_figure",
                f"Study {name}",
                STUDIES,
                "dgmpipe.figures.figure_study:from_files",
                {"table": [f"tables/{table}.csv"]},
                {
                    "x": study.x,
                    "measures": study.measures,
                    "titles": {point.model: config.title(point.model) for point in points},
                    "log_x": study.log_x,
                    "log_y": study.log_y,
                },
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
                        {"name": p.name, "model": p.model, "values": p.values} for p in points
                    ],
                    "models": models,
                    "seeds": config.seeds,
                    "measures": study.measures,
                },
                "study",
                about,
            ),
        ]
    return found
