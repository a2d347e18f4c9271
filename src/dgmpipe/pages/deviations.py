"""Where the paper or its published code goes wrong, what is right, and what that is in numbers."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from dgmpipe.evaluation.yardsticks import joined_at
from dgmpipe.models.generator import Generator
from dgmpipe.models.otflow import OTFlow
from dgmpipe.models.realnvp import Coupling, RealNVP
from dgmpipe.models.vae import LIKELIHOODS, VAE
from dgmpipe.pages.tiers import Tier

__all__ = ["DEVIATIONS", "Deviation"]


class Deviation(NamedTuple):
    """A slip.

    Attributes:
        where: Equation, section or figure; or "code", that which the authors published.
        slip: What is said or done there.
        correct: What is right, and done here.
        numbers: Computes what the difference is, or says it where there is nothing to compute.
    """

    where: str
    slip: str
    correct: str
    numbers: Callable[[Tier], str] | str


def _kl_sign(tier: Tier) -> str:
    row = tier.row("flows", model="realnvp")
    wrong = row["nll"] + row["entropy"]
    return f"Real NVP: {row['kl']:.3f} nats; with the paper's sign it would be {wrong:.3f}"


def _count_of_scalar_networks() -> str:
    def weights(inputs: int, outputs: int, width: int = 128) -> int:
        return (inputs + 1) * width + (width + 1) * width + (width + 1) * outputs

    ours = sum(p.numel() for p in RealNVP().parameters())
    return f"{12 * weights(1, 1):,} weights; {ours:,} as stated, with two inputs and outputs"


def _count_with_a_bias_a_channel() -> str:
    ours = sum(p.numel() for p in Generator().parameters())
    biases = Generator().get_parameter("layers.0.bias").numel()
    return f"{ours - biases + 64:,} weights; {ours:,} as stated, with a bias for each value"


def _inverse_error(tier: Tier) -> str:
    errors = [
        f"{row['inverse_error']:.1e} with {row['rk4_steps']}"
        for row in (
            tier.row("otflow_inverse_error", model="otflow", rk4_steps=n) for n in (4, 8, 64)
        )
    ]
    return "relative error " + ", ".join(errors)


def _eq_15_as_printed(tier: Tier) -> str:
    """Integrate eq. (14) and then back, with either sign of the velocity, all but exactly."""
    flow = tier.load("otflow").double()
    assert isinstance(flow, OTFlow)

    def follow(points: np.ndarray, start: float, end: float, sign: float) -> np.ndarray:
        def velocity(t: float, flat: np.ndarray) -> np.ndarray:
            y = torch.from_numpy(flat).view(-1, 2).requires_grad_()
            potential = flow.potential(F.pad(y, (0, 1), value=t)).sum()
            (gradient,) = torch.autograd.grad(potential, y)
            return -sign * gradient.flatten().numpy()

        tolerances = {"rtol": 1e-10, "atol": 1e-10}
        ended = solve_ivp(velocity, (start, end), points.ravel(), "DOP853", **tolerances)
        return ended.y[:, -1].reshape(-1, 2)

    z = np.random.default_rng(0).normal(size=(200, 2))
    x = follow(z, 0, 1, 1)
    printed, right = (
        np.linalg.norm(follow(x, 1, 0, sign) - z) / np.linalg.norm(z) for sign in (-1, 1)
    )
    return f"relative inverse error {printed:.1g} as printed, {right:.0e} with the right sign"


def _bounded_layers(tier: Tier) -> str:
    """Follow points of the data through a trained Real NVP, back to the latent points."""
    flow = tier.load("realnvp")
    y = torch.from_numpy(tier.arrays("realnvp", "flow")["batch"])
    largest = []
    with torch.no_grad():
        for layer in reversed(list(flow.get_submodule("layers").children())):
            assert isinstance(layer, Coupling)
            largest.append([values.abs().max().item() for values in layer.scale_and_shift(y)])
            y, _ = layer.inverse(y)
    s, t = np.max(largest, axis=0)
    return (
        f"abs(s) and abs(t) are below 1; {len(y)} points of the moons come to {s:.2f} and {t:.2f}"
    )


def _truth_between_the_moons(tier: Tier) -> str:
    truth = tier.arrays("realnvp", "flow")["true_log_density"]
    return (
        "from moon to moon a path need not go below"
        f" {joined_at(truth, truth):.0e} of the highest density, which is not 0"
    )


def _expansion() -> str:
    values = ", ".join(f"{math.log(1 / theta):.1f} at θ = {theta:g}" for theta in (0.5, 1, 2, 100))
    return f"for g⁻¹(x) = θx, as in Figure 4: {values}, and so on without limit"


def _collapsed_discriminator() -> str:
    """Maximise eq. (29) at the one image that is generated: 1/s of the data, all that is made."""

    def best(s: int) -> float:
        return minimize_scalar(
            lambda d: -math.log(d) / s - math.log1p(-d), bounds=(0, 1), options={"xatol": 1e-12}
        ).x

    values = ", ".join(f"{best(s):.2g} for s = {s:,}" for s in (1, 64, 60_000))
    return f"the maximum of (29) is at {values}"


def _likelihood_with_wrong_z(vae: VAE, x: Tensor) -> Tensor:
    """Return the mean of log p(x|z) over draws of eq. (25), shape (N,), for images `x`."""
    posterior = vae.encoder(x)
    draws = torch.randn(20, *posterior.mean.shape, generator=torch.Generator().manual_seed(0))
    wrong = posterior.mean + posterior.log_variance.exp() * draws
    terms = [vae.log_likelihood(z, x) for z in wrong]
    return torch.stack(terms).mean(dim=0)


@torch.no_grad()
def _pseudo_likelihood(tier: Tier) -> str:
    """Integrate p(x|z) over all grey values in closed form, and over z by quadrature."""
    vae = tier.load("vae")
    assert isinstance(vae, VAE)
    if vae.likelihood != "bernoulli" or vae.generator.latent_dim != 2:
        raise FileNotFoundError("the tier has no VAE with the paper's likelihood and latent space")
    axis = torch.linspace(-5, 5, 201)
    log_mass = []
    for z in torch.cartesian_prod(axis, axis).split(512):
        logits = vae.generator.logits(z)
        of_pixels = LIKELIHOODS["continuous_bernoulli"](logits) - LIKELIHOODS["bernoulli"](logits)
        log_prior = -z.square().sum(dim=1) / 2 - math.log(2 * math.pi)
        log_mass.append(log_prior + of_pixels.sum(dim=(1, 2, 3)))
    log_integral = torch.cat(log_mass).double().logsumexp(0).item() + 2 * math.log(10 / 200)
    row = tier.row("vae_evidence", model="vae")
    return (
        f"the integral of p(x) over [0, 1]⁷⁸⁴ is e^{log_integral:.0f}; log p(x) cannot exceed"
        f" {row['ceiling_mean']:.1f} in the mean over {row['images']:,.0f} test images, and is"
        f" {row['log_evidence_mean']:.1f}"
    )


@torch.no_grad()
def _literal_22(tier: Tier) -> str:
    """Put the z of eq. (25) into each term of eq. (22), where the code keeps the divergence.

    With z = μ + exp(Σ) ε, log p(z) - log e(z|x) is -|z|²/2 + Σ/2 + exp(Σ) ε²/2, summed over the
    coordinates, and the mean over ε is known.
    """
    vae, x, _ = tier.evidence_images()
    posterior = vae.encoder(x)
    mean, log_variance = posterior.mean, posterior.log_variance
    likelihood = _likelihood_with_wrong_z(vae, x)
    rest = (log_variance + log_variance.exp() - mean.square() - (2 * log_variance).exp()) / 2
    literal = likelihood + rest.sum(dim=1)
    mixed = likelihood - posterior.kl_to_standard_normal()
    right = tier.row("vae_evidence", model="vae")["elbo_mean"]
    return (
        f"mean over {len(x):,} test images {literal.mean():.2f} literally, {mixed.mean():.2f} as"
        f" the code has it; the bound itself is {right:.2f}"
    )


@torch.no_grad()
def _standard_deviation(tier: Tier) -> str:
    """Compare the ELBO with what the wrong standard deviation makes of it."""
    vae, x, log_evidence = tier.evidence_images()
    wrong = _likelihood_with_wrong_z(vae, x) - vae.encoder(x).kl_to_standard_normal()
    right = tier.row("vae_evidence", model="vae")["elbo_mean"]
    above = (wrong > log_evidence).float().mean()
    return (
        f"mean over {len(x):,} test images {right:.1f}; {wrong.mean():.1f} with exp(Σ),"
        f" which exceeds log p(x), so is no bound, for {above:.0%} of them"
    )


@torch.no_grad()
def _no_noise(tier: Tier) -> str:
    """Compute what the published code takes for the ELBO when it evaluates batches of 64 images.

    The mean stands for z and for the noise, so that prior and approximate posterior cancel but
    for the variance, and the constants of the two densities are ½ log 2π an image and log 2π a
    batch where both should be log 2π an image.
    """
    vae, x, log_evidence = tier.evidence_images()
    posterior = vae.encoder(x)
    constant = math.log(2 * math.pi) * (1 / 64 - 1 / 2)
    likelihood = vae.log_likelihood(posterior.mean, x)
    value = likelihood + posterior.log_variance.sum(dim=1) / 2 + constant
    above = (value > log_evidence).float().mean()
    bound = tier.row("vae_evidence", model="vae")["elbo_mean"]
    return (
        f"{value.mean():.1f}, where the bound is {bound:.1f}; above log p(x), so no bound,"
        f" for {above:.0%} of the images"
    )


def _critics(tier: Tier) -> str:
    """Say how steep the critics are, and what their difference is worth once that is mended."""
    said = []
    for model, name in (("wgan_random", "from random weights"), ("wgan_vae", "from the VAE")):
        row = tier.row("critics", model=model)
        said.append(
            f"{name} the largest slope is {row['slope']:.2g}, and the critic's difference over it"
            f" is {row['estimate']:.2g}, where the exact distance of the same images is"
            f" {row['wasserstein']:.2f}"
        )
    return "; ".join(said)


def _noise_floor(tier: Tier) -> str:
    """Take the statistic between batches of real images, as if one had been generated."""
    images = tier.training_images(2 * 64 * 20).flatten(1)
    values = []
    for pair in images.view(20, 2, 64, -1):
        distances = [
            (torch.cdist(a, b).square() + 0.1).sqrt().mean()
            for a, b in ((pair[0], pair[1]), (pair[0], pair[0]), (pair[1], pair[1]))
        ]
        values.append(2 * distances[0] - distances[1] - distances[2])
    mean = float(torch.stack(values).mean())
    plotted = 1000 * 64 * 64 / 128 / 128 * mean
    return (
        f"of real images {plotted:.0f}, which is {mean:.3f} without its factors and sums, where the"
        f" unbiased distance is {tier.floor().mean():.4f} on average"
    )


DEVIATIONS = [
    Deviation(
        "after (8)",
        "KL(p‖p_θ) = J_ML + E[-log p]",
        "KL(p‖p_θ) = J_ML + E[log p]",
        _kl_sign,
    ),
    Deviation(
        "3.1",
        "the second term of (8), -log det, prefers transformations that preserve volume",
        "it prefers those whose inverse expands volume, the more the better; the first term is what"
        " stops them",
        _expansion(),
    ),
    Deviation(
        "(4), 4.2",
        "the Bernoulli likelihood of intensities in [0, 1]",
        "it is a likelihood of black and white; of grey values a pseudo-likelihood, with a ceiling"
        " set by the pixels' entropy, arXiv:1907.06845. The key `likelihood` of the VAE chooses"
        " the continuous Bernoulli, which is a density",
        _pseudo_likelihood,
    ),
    Deviation(
        "(5)",
        "the first layer of the generator adds b⁽¹⁾ in ℝ⁶⁴, a number a channel",
        "a number for each of the 3,136 values, as the stated count of weights needs",
        _count_with_a_bias_a_channel(),
    ),
    Deviation(
        "Example 1",
        "points are drawn from the moons; the code takes scikit-learn's `make_moons`, whose angles"
        " are a fixed grid",
        "independent draws, from a density that is known",
        "angles of two batches are the same there",
    ),
    Deviation(
        "Example 1",
        "the support of the moons is split into two regions, and the optimal generator is"
        " discontinuous",
        "with normal noise the density is positive on the whole plane, and smooth: there are smooth"
        " invertible generators that make it exactly, one coordinate after the other",
        _truth_between_the_moons,
    ),
    Deviation(
        "(11)",
        "s_j and t_j take and return a number",
        "networks of the masked point, with two outputs, as the stated count of weights needs",
        _count_of_scalar_networks(),
    ),
    Deviation(
        "(11)",
        "the scaling has to be bounded, but the text does not say by what; the code has tanh on s"
        " and t",
        "tanh on both, as in the code",
        _bounded_layers,
    ),
    Deviation(
        "(15)",
        "-∂ₜp = v(p, t), to be integrated from T back to 0",
        "∂ₜp = v(p, t), the equation of (14) itself, from T back to 0",
        _eq_15_as_printed,
    ),
    Deviation(
        "3.3",
        "the inverse error of OT-Flow is nearly at machine precision",
        "it depends on the number of Runge-Kutta steps",
        _inverse_error,
    ),
    Deviation(
        "(25)",
        "z = μ + exp(Σ) ε; so does the code",
        "exp(Σ) is the covariance in (24): z = μ + exp(Σ/2) ε",
        _standard_deviation,
    ),
    Deviation(
        "(22) with (25)",
        "z of (25) in all three terms of (22); the code puts it into log p(x|z) alone, beside the"
        " divergence of the right distribution",
        "the right z in log p(x|z), and that divergence; the row above is of the code's mixture",
        _literal_22,
    ),
    Deviation(
        "4.1",
        "it is impossible to determine the tightness of the bound",
        "with two latent dimensions log p(x) is a quadrature",
        lambda tier: (
            f"gap of {tier.row('vae_evidence', model='vae')['gap_mean']:.2f} nats on average"
        ),
    ),
    Deviation(
        "5.1",
        "if the generator makes but one of the s images of the data, the optimal discriminator is"
        " 1/2 there",
        "1/(s+1): of the data it is one in s, of what is generated all",
        _collapsed_discriminator(),
    ),
    Deviation("(33)", "leaky ReLU: 0.2 for x < 0", "0.2 x", "a constant would have no gradient"),
    Deviation(
        "4.2", "Figure 7 has four randomly selected images", "two, chosen in the config", "a typo"
    ),
    Deviation("5.2", "50 iterations of RMSprop", "50,000, as for the DCGAN", "a typo"),
    Deviation(
        "code",
        "Real NVP's log-determinant has the scaling of both coordinates",
        "of the one that a layer transforms",
        "each of 6 layers adds up to 1, so that the density integrates to as much as e⁶ = 403; the"
        " published J_ML = -5.65 lies below the entropy, 0.289",
    ),
    Deviation(
        "code",
        "the VAE is evaluated at the mean of the approximate posterior, which stands for the noise"
        " as well, and two constants of the normal density are off, by 0.9 nats together",
        "a draw in evaluation as well, and the divergence in closed form",
        _no_noise,
    ),
    Deviation(
        "code, Fig. 11",
        "energy statistic of 64 images against 64, with √(d² + 0.1), diagonal included, divided by"
        " 128, summed over 1,000 steps, no p-value",
        "unbiased distance of thousands of images from all test images, with standard error and"
        " permutation test",
        _noise_floor,
    ),
    Deviation(
        "code, Fig. 5 and 6",
        "the latent histogram has the range [3.5, 3.5] on one axis",
        "[-3.5, 3.5], with the number of points outside in its title",
        "nearly no point was shown",
    ),
    Deviation(
        "code, Fig. 7",
        "the contours of the posterior have their axes swapped",
        "same axes as the latent points",
        "a test puts a known posterior where it belongs",
    ),
    Deviation(
        "Fig. 8",
        "no code for the panels of samples; a histogram stands for the aggregate posterior",
        "the exact mean of the approximate posteriors",
        "no noise of 100,000 draws in the choice of the points",
    ),
    Deviation(
        "code, Fig. 10",
        "GAN images are made in training mode of batch norm",
        "in evaluation mode",
        "an image depends on its latent point only, not on its neighbours in the batch",
    ),
    Deviation(
        "(35)",
        "the text bounds φ; the code clips every parameter of the critic, those of its batch norms"
        " included, and before each update",
        "the same; `clip_batch_norm` and `clip_before_update` choose",
        "no slip: energy distances of the WGAN after 3,000 steps from random weights, seeds 0 and"
        " 1, 0.33 and 0.38; 0.32 and 0.33 if clipped after the update; 0.87 and 0.83 without the"
        " batch norms and after the update",
    ),
    Deviation(
        "(35)",
        "the maximum is over functions with slopes of at most 1, and the critic's parameters are"
        " bound instead, which the text says is not sufficient",
        "the same; it does bound the slopes, far below 1, and the critic finds a small part of the"
        " distance. `kind: gan` has other constraints",
        _critics,
    ),
    Deviation(
        "(32)",
        "the text draws z anew in every step; the code draws it anew in each half of a step",
        "the same; `fresh_latent_points` chooses",
        "no slip: energy distances of the DCGAN after 8,000 steps from random weights, seeds 0, 1"
        " and 2, 0.49, 3.9 and 0.47; 5.7 and 8.6 (seeds 0, 1) with the same points in both. Either"
        " way the discriminator may come to tell all images apart, and the generator stands still:"
        " after 1,500 steps with new points 4 of 6 seeds have a distance above 5, and with the same"
        " points 3 of 4. The published training stands so from step 2,000 to 3,000 (its log has a"
        " discriminator's objective of -5e-5 there)",
    ),
    Deviation(
        "code",
        "there are no seeds",
        "a seed for every model",
        "equal config, seed and code: equal bytes",
    ),
    Deviation(
        "code, Fig. 5 and 6",
        "the bar says p, but the values are log p",
        "the values are p",
        "the scale of the bar",
    ),
]
