"""The kinds of model: each has its settings, the task that trains it, its data and its family.

A line in `KINDS` is all that the workflow needs to know of a kind; the settings of its block in the
config, their defaults, checks and documentation follow from its class here. Defaults are the
paper's. Nothing here imports torch, so that Snakemake starts fast.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from dgmpipe.config.values import (
    Block,
    Count,
    Fraction,
    Positive,
    Seeds,
    Switch,
    Weight,
    Whole,
    documented,
)

__all__ = ["KINDS", "STEP_EVALUATIONS", "Family", "Kind", "ModelSettings"]

Family = Literal["flow", "vae", "gan", "diffusion", "judge"]

# Batch norm and the energy distance need two images.
Images = Annotated[Whole, Field(ge=2)]


MatchingPath = Literal["straight", "variance_preserving"]
PATH = (
    "from latent points to data: `straight` lines, arXiv:2210.02747, or those of the diffusion that"
    " keeps the variance, arXiv:2011.13456, here with α = sin(π t/2) and σ = cos(π t/2)"
)


# Evaluations of the velocity that a step of each solver takes.
STEP_EVALUATIONS = {"euler": 1, "heun": 2, "rk4": 4}


class ModelSettings(Block):
    """Settings of every model."""

    kind: str = documented("the kind of model, which says what other keys there are")
    title: str = documented("its name in figures and tables; made of kind and start by default", "")
    steps: Count = documented("training steps; of a GAN those of its generator")
    batch_size: Count = documented("points or images in a batch")
    evaluate_every: Count = documented("steps between two rows of `history.csv`", 1000)
    checkpoint_every: Count = documented(
        "steps between two checkpoints, from which an interrupted training continues", 1000
    )
    held_out_size: Images = documented(
        "points or test images, spread evenly, of an evaluation during training; for a GAN also how"
        " many images it generates for it",
        2000,
    )
    start: str | None = documented(
        "model whose generator, of the same seed, this one starts from; by default random weights",
        None,
    )

    seeds: Seeds | None = documented(
        "it is trained once for each of these; by default for each of the tier's `seeds`", None
    )
    learning_rate_decay: Literal["none", "linear", "cosine"] = documented(
        "how the learning rates fall, to 0 after the last step", "none"
    )
    average: Fraction = documented(
        "decay of an exponential moving average of the weights, which is evaluated and saved in"
        " their place; 0 for none",
        0,
    )
    precision: Literal["float32", "bfloat16"] = documented(
        "with `bfloat16` training steps round to it wherever torch's autocast does", "float32"
    )
    snapshots: Annotated[Whole, Field(ge=0)] = documented(
        "how many times in a training its samples are kept, for the companion", 20
    )

    # Settings that change no weight: a training is the same under another title, beside others.
    without_effect: ClassVar[frozenset[str]] = frozenset(
        {"title", "checkpoint_every", "snapshots", "seeds"}
    )
    # At their defaults these name no training: one from before they came is the same. So their
    # defaults never change.
    options: ClassVar[frozenset[str]] = frozenset({"learning_rate_decay", "average", "precision"})

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return the defaults of the settings that have one."""
        return {key: field.default for key, field in cls.model_fields.items()}


class FlowSettings(ModelSettings):
    """Settings of every flow of the plane, trained with Adam."""

    batch_size: Count = documented("points in a batch", 256)
    learning_rate: Positive = documented("of Adam")
    data: str = documented(
        "`moons`, or a file of points of your own, `.csv`, `.npy` or `.npz`", "moons"
    )
    noise: Annotated[Positive, Field(ge=0.005, le=1)] = documented(
        "standard deviation of the normal noise around the two half circles of the moons", 0.05
    )
    standardised: Switch = documented(
        "whether the flow ends in an affine layer that gives it the data's mean and scale", False
    )


class RealNVPSettings(FlowSettings):
    """Real NVP, Section 3.2: coupling layers that scale and shift, in closed form both ways."""

    num_layers: Count = documented("coupling layers K of eq. (9)", 6)
    width: Count = documented("neurons in the hidden layers of the networks s and t, eq. (11)", 128)


class OTFlowSettings(FlowSettings):
    """OT-Flow, Section 3.3: a continuous flow with transport cost, integrated by Runge-Kutta."""

    width: Count = documented("neurons in the hidden layers of the potential Φ", 32)
    training_rk4_steps: Count = documented("Runge-Kutta steps from x to z in training", 4)
    evaluation_rk4_steps: Count = documented("Runge-Kutta steps everywhere else", 8)
    alpha_transport: Weight = documented("weight of the transport cost in the objective", 1)
    alpha_likelihood: Positive = documented("weight of the likelihood, α of eq. (19)", 10)
    alpha_hjb: Weight = documented(
        "weight of the violation of the Hamilton-Jacobi-Bellman equation", 5
    )


class NICESettings(FlowSettings):
    """NICE, arXiv:1410.8516: coupling layers that keep volumes, and a scaling at the end."""

    num_layers: Count = documented("coupling layers", 6)
    width: Count = documented("neurons in the two hidden layers of the networks", 128)


class AutoregressiveSettings(FlowSettings):
    """Affine autoregressive layers, arXiv:1705.07057 and arXiv:1606.04934.

    A network of `maf` sees the data, so that a likelihood takes one pass through it and a sample
    two; of `iaf` it sees the latent points, and it is the other way round.
    """

    num_layers: Count = documented("layers", 6)
    width: Count = documented("neurons in the two hidden layers of the networks", 128)


class NeuralSplineSettings(FlowSettings):
    """Neural spline flow, arXiv:1906.04032: autoregressive layers of monotonic splines."""

    num_layers: Count = documented("layers", 4)
    width: Count = documented("neurons in the two hidden layers of the networks", 64)
    bins: Annotated[Whole, Field(ge=2)] = documented("pieces of a spline, which spans [−5, 5]", 16)
    base_deviation: Annotated[Positive, Field(ge=0.001, le=1)] = documented(
        "what the second latent coordinate is multiplied by before the first layer, for thin data",
        1,
    )
    dequantisation: Weight = documented(
        "standard deviation of noise that is added to the points in training alone", 0
    )

    options = ModelSettings.options | {"base_deviation", "dequantisation"}


class LayeredSettings(FlowSettings):
    """Planar and radial flows, arXiv:1505.05770, whose layers have few weights and no network."""

    num_layers: Count = documented("layers", 32)
    objective: Literal["likelihood", "reverse_kl"] = documented(
        "`likelihood`, eq. (8), or `reverse_kl`, the divergence of the moons from the flow, which"
        " needs the moons' density and no data",
        "likelihood",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.objective == "reverse_kl" and self.data != "moons":
            raise ValueError(
                "must have data: moons with objective: reverse_kl, as a file of points has no known"
                " density; use objective: likelihood"
            )
        return self


class FlowMatchingSettings(FlowSettings):
    """Flow matching, arXiv:2210.02747: a continuous flow whose velocity is learned by regression.

    Its training integrates nothing; only samples and likelihoods do.
    """

    path: MatchingPath = documented(PATH, "straight")

    width: Count = documented("neurons in the three hidden layers of the velocity", 128)
    evaluation_rk4_steps: Count = documented("Runge-Kutta steps, in either direction", 16)
    coupling: Literal["independent", "optimal"] = documented(
        "latent points go with data at random, or as in the optimal transport between the two"
        " batches, arXiv:2302.00482",
        "independent",
    )


class ImageSettings(ModelSettings):
    """Settings of every generator of images."""

    batch_size: Images = documented(
        "images in a batch; an epoch has as many full ones as there are", 64
    )
    latent_dim: Count = documented("dimension q of the latent space", 2)
    width: Count = documented(
        "channels at half the resolution, of the generator and of its counterpart; twice as many at"
        " a quarter",
        32,
    )


class AutoencoderSettings(ImageSettings):
    """Settings of every VAE."""

    learning_rate: Positive = documented("of Adam", 0.001)
    weight_decay: Weight = documented("of Adam", 0.00001)
    likelihood: str = documented("p(x|z)", "bernoulli")


class VAESettings(AutoencoderSettings):
    """The variational autoencoder of Section 4, trained with Adam on the ELBO."""

    likelihood: Literal["bernoulli", "continuous_bernoulli"] = documented(
        "`bernoulli`, eq. (4), which is a pseudo-likelihood of grey values, or"
        " `continuous_bernoulli`, arXiv:1907.06845, a normalised density; with either the images"
        " that are shown are the parameter λ",
        "bernoulli",
    )


class FlexibleVAESettings(AutoencoderSettings):
    """A VAE with a choice of approximate posterior, bound and likelihood; trained with Adam."""

    likelihood: Literal["bernoulli", "continuous_bernoulli", "gaussian"] = documented(
        "as of a `vae`, or `gaussian` with one learned standard deviation of all pixels",
        "bernoulli",
    )
    posterior: Literal["diagonal", "full_covariance", "mixture", "planar", "iaf", "realnvp"] = (
        documented(
            "family of the approximate posterior: `diagonal`, the Gaussian of eq. (24), one with"
            " full covariance, a mixture of diagonal ones, or a flow: `planar`, arXiv:1505.05770,"
            " `iaf`, arXiv:1606.04934, or `realnvp`, the third network of Section 4.2",
            "diagonal",
        )
    )
    components: Count = documented("normals of a mixture", 4)
    flow_layers: Count = documented("layers of a flow", 4)
    importance_samples: Count = documented(
        "draws an image of the bound that is trained on, arXiv:1509.00519; 1 is the ELBO", 1
    )
    refinement_steps: Annotated[Whole, Field(ge=0)] = documented(
        "steps of Adam that raise the bound of each image over what the encoder returns, when the"
        " model is evaluated",
        0,
    )
    refinement_rate: Positive = documented(
        "learning rate of the first of these steps, which falls to 0", 0.1
    )
    train_refined: Switch = documented(
        "whether the steps are taken in training as well, of which the generator then learns", False
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.posterior in ("iaf", "realnvp") and self.latent_dim < 2:
            raise ValueError(f"posterior {self.posterior} needs a latent_dim of at least 2")
        return self


class GANSettings(ImageSettings):
    """Settings of every GAN of Section 5."""

    discriminator_learning_rate: Positive = documented("γ_φ of eqs. (31) and (35)")
    generator_learning_rate: Positive = documented("γ_θ of eq. (32)")


class AdamSettings(GANSettings):
    """Settings of a GAN that is trained with Adam."""

    beta_1: Fraction = documented("of Adam, for both networks", 0.5)
    beta_2: Fraction = documented("of Adam, for both networks", 0.999)


class LatentPointSettings(GANSettings):
    """Settings of a GAN that may use latent points twice."""

    fresh_latent_points: Switch = documented(
        "whether the generator is updated at new latent points, as published, or at those that the"
        " discriminator has just been trained on",
        True,
    )


class CriticSettings(GANSettings):
    """Settings of a GAN whose critic may take several steps."""

    critic_steps: Count = documented("steps of the critic to each step of the generator", 5)


class ClippingSettings(CriticSettings):
    """Settings of a GAN whose critic may be clipped."""

    clip: Positive = documented("the critic's parameters are clipped to ±`clip`", 0.01)
    clip_batch_norm: Switch = documented(
        "whether those of its batch norms are clipped as well, as published", True
    )
    clip_before_update: Switch = documented(
        "whether they are clipped before each update, as published, so that they may exceed `clip`"
        " by an update, or after it",
        True,
    )


class PenaltySettings(CriticSettings):
    """Settings of a GAN whose critic may have a gradient penalty."""

    penalty: Positive = documented("weight λ of the gradient penalty", 10)


class DCGANSettings(AdamSettings, LatentPointSettings):
    """The GAN of Section 5.1, whose discriminator classifies; trained with Adam."""


class WGANSettings(ClippingSettings):
    """The Wasserstein GAN of Section 5.2, whose critic is clipped; trained with RMSprop."""


class WGANGPSettings(PenaltySettings, AdamSettings):
    """A Wasserstein GAN with a gradient penalty, arXiv:1704.00028; trained with Adam."""

    beta_1: Fraction = documented("of Adam, for both networks", 0)
    beta_2: Fraction = documented("of Adam, for both networks", 0.9)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.precision == "bfloat16":
            raise ValueError(
                "has precision bfloat16, in which its penalty is not computed; use kind: gan with"
                " objective: wasserstein, constraint: gradient_penalty and critic_batch_norm: false"
            )
        return self


class AdversarialSettings(AdamSettings, LatentPointSettings, ClippingSettings, PenaltySettings):
    """A GAN of which the choices of Section 5, and some that came after, are settings.

    The defaults are those of the DCGAN.
    """

    objective: Literal["saturating", "non_saturating", "least_squares", "hinge", "wasserstein"] = (
        documented(
            "`saturating`, eqs. (31) and (32); `non_saturating`, whose generator maximises"
            " log d; `least_squares`, arXiv:1611.04076; `hinge`, arXiv:1705.02894; `wasserstein`,"
            " eq. (35)",
            "saturating",
        )
    )
    constraint: Literal["none", "clipping", "gradient_penalty", "spectral_normalisation"] = (
        documented(
            "how the critic is held to small slopes: `clipping`, arXiv:1701.07875;"
            " `gradient_penalty`, arXiv:1704.00028; `spectral_normalisation`, arXiv:1802.05957",
            "none",
        )
    )
    label_smoothing: Fraction = documented(
        "by how much the label 1 of true images is lowered, arXiv:1606.03498; 0 for hinge and"
        " wasserstein, which have no labels",
        0,
    )
    critic_batch_norm: Switch = documented("whether the critic has batch norms", True)
    critic_steps: Count = documented(
        "steps of the critic to each step of the generator; 1 with extragradient", 1
    )
    optimizer: Literal["adam", "rmsprop", "extragradient"] = documented(
        "of both networks; `extragradient`, arXiv:1802.10551, is Adam with the gradients of where"
        " its step would have led",
        "adam",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.label_smoothing and self.objective in ("hinge", "wasserstein"):
            raise ValueError(
                f"has label_smoothing {self.label_smoothing:g}, but its objective,"
                f" {self.objective}, has no labels; set it to 0"
            )
        if self.optimizer == "extragradient" and self.critic_steps > 1:
            raise ValueError(
                "has the optimizer extragradient, which steps both networks at once; set"
                f" critic_steps to 1, not {self.critic_steps}"
            )
        if self.constraint == "gradient_penalty" and self.critic_batch_norm:
            raise ValueError(
                "has the constraint gradient_penalty, which is on the slope at one image, and a"
                " critic with batch norms, of whose values each depends on the whole batch; set"
                " critic_batch_norm to false"
            )
        return self


class MatchingSettings(ModelSettings):
    """Settings of every generator of images by flow matching."""

    batch_size: Images = documented("images in a batch", 64)
    learning_rate: Positive = documented("of Adam", 0.001)
    path: MatchingPath = documented(PATH, "straight")
    solver: Literal["euler", "heun", "rk4"] = documented(
        "how a sample's path is integrated: Euler's scheme, Heun's or the Runge-Kutta scheme of"
        " fourth order, in steps of equal size",
        "heun",
    )
    evaluations: Count = documented(
        "evaluations of the velocity for a sample, of which a step takes 1, 2 or 4", 32
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        each = STEP_EVALUATIONS[self.solver]
        if self.evaluations % each:
            raise ValueError(
                f"must have a multiple of {each} for evaluations, as a step of {self.solver} takes"
                f" so many, not {self.evaluations}"
            )
        return self


class PixelFlowSettings(MatchingSettings):
    """Flow matching, or diffusion, from white noise to the pixels of images, by a small U-Net."""

    width: Annotated[Whole, Field(ge=8, multiple_of=8)] = documented(
        "channels of the U-Net at half the resolution, a multiple of 8; twice as many at a quarter",
        32,
    )


class LatentFlowSettings(MatchingSettings):
    """Flow matching, or diffusion, to the codes of a VAE, whose generator makes images of them."""

    batch_size: Images = documented("codes in a batch", 256)
    start: str = documented("the VAE; its generator is not trained further")
    latent_dim: Count = documented("dimension q of the latent space, that of the VAE", 2)
    width: Count = documented("of the VAE", 32)
    velocity_width: Count = documented("neurons in the hidden layers of the velocity", 256)


class ClassifierSettings(ModelSettings):
    """Tells digits apart and rejects images that show none; trained for the first seed only.

    It judges the generators' images, and is trained against noise, scrambled images and parts of
    two digits.
    """

    batch_size: Images = documented("images in a batch", 128)
    width: Count = documented("channels at half the resolution; twice as many at a quarter", 16)
    learning_rate: Positive = documented("of Adam")
    learning_rate_decay: Literal["none", "linear", "cosine"] = documented(
        "how the learning rate falls, to 0 after the last step", "linear"
    )


@dataclass(frozen=True)
class Kind:
    """A class of models.

    Attributes:
        title: Its name in figures.
        family: What is evaluated of it.
        settings: Its block in the config.
        task: Module and class of its training task.
        data: What it is trained on: points of the plane, images, images with their labels, or the
            codes that a VAE has of images.
        step_ms: Milliseconds of a step with default settings on one core, for a plan's hours.
    """

    title: str
    family: Family
    settings: type[ModelSettings]
    task: str
    data: Literal["points", "images", "labelled images", "codes"]
    step_ms: float

    @property
    def module(self) -> str:
        """Dotted name of the module that has the task."""
        return self.task.split(":")[0]


KINDS: dict[str, Kind] = {
    "realnvp": Kind(
        "Real NVP", "flow", RealNVPSettings, "dgmpipe.models.realnvp:RealNVPTask", "points", 12
    ),
    "otflow": Kind(
        "OT-Flow", "flow", OTFlowSettings, "dgmpipe.models.otflow:OTFlowTask", "points", 15
    ),
    "nice": Kind("NICE", "flow", NICESettings, "dgmpipe.models.zuko_flows:NICETask", "points", 7),
    "maf": Kind(
        "MAF", "flow", AutoregressiveSettings, "dgmpipe.models.zuko_flows:MAFTask", "points", 10
    ),
    "iaf": Kind(
        "IAF", "flow", AutoregressiveSettings, "dgmpipe.models.zuko_flows:IAFTask", "points", 20
    ),
    "nsf": Kind(
        "Neural spline flow",
        "flow",
        NeuralSplineSettings,
        "dgmpipe.models.zuko_flows:NeuralSplineTask",
        "points",
        30,
    ),
    "planar": Kind(
        "Planar flow", "flow", LayeredSettings, "dgmpipe.models.planar:PlanarTask", "points", 20
    ),
    "radial": Kind(
        "Radial flow", "flow", LayeredSettings, "dgmpipe.models.planar:RadialTask", "points", 10
    ),
    "flow_matching": Kind(
        "Flow matching",
        "flow",
        FlowMatchingSettings,
        "dgmpipe.models.flow_matching:FlowMatchingTask",
        "points",
        3,
    ),
    "vae": Kind("VAE", "vae", VAESettings, "dgmpipe.models.vae:VAETask", "images", 30),
    "flexible_vae": Kind(
        "Flexible VAE",
        "vae",
        FlexibleVAESettings,
        "dgmpipe.models.flexible_vae:FlexibleVAETask",
        "images",
        35,
    ),
    "dcgan": Kind("DCGAN", "gan", DCGANSettings, "dgmpipe.models.dcgan:DCGANTask", "images", 55),
    "wgan": Kind("WGAN", "gan", WGANSettings, "dgmpipe.models.wgan:WGANTask", "images", 180),
    "wgan_gp": Kind(
        "WGAN-GP", "gan", WGANGPSettings, "dgmpipe.models.wgan:WGANGPTask", "images", 250
    ),
    "gan": Kind(
        "GAN",
        "gan",
        AdversarialSettings,
        "dgmpipe.models.adversarial:AdversarialTask",
        "images",
        60,
    ),
    "pixel_flow": Kind(
        "Flow matching of pixels",
        "diffusion",
        PixelFlowSettings,
        "dgmpipe.models.pixel_flow:PixelFlowTask",
        "images",
        90,
    ),
    "latent_flow": Kind(
        "Flow matching of codes",
        "diffusion",
        LatentFlowSettings,
        "dgmpipe.models.latent_flow:LatentFlowTask",
        "codes",
        5,
    ),
    "classifier": Kind(
        "classifier",
        "judge",
        ClassifierSettings,
        "dgmpipe.models.classifier:ClassifierTask",
        "labelled images",
        16,
    ),
}
