"""Where the paper or its published code goes wrong, what is right, and what that is in numbers."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from dgmpipe.models.generator import Generator
from dgmpipe.models.realnvp import RealNVP
from dgmpipe.models.vae import kl_to_standard_normal
from dgmpipe.tiers import Tier

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
        f"{tier.row('otflow_inverse_error', rk4_steps=n)['inverse_error']:.1e} with {n}"
        for n in (4, 8, 64)
    ]
    return "relative error " + ", ".join(errors)


@torch.no_grad()
def _standard_deviation(tier: Tier) -> str:
    """Compare the ELBO with what the wrong standard deviation makes of it."""
    vae, x, log_evidence = tier.evidence_images()
    mean, log_variance = vae.encoder(x)
    draws = torch.randn(20, *mean.shape, generator=torch.Generator().manual_seed(0))
    terms = [vae.log_likelihood(mean + log_variance.exp() * epsilon, x) for epsilon in draws]
    wrong = torch.stack(terms).mean(dim=0) - kl_to_standard_normal(mean, log_variance)
    right = tier.row("vae_evidence")["elbo_mean"]
    above = (wrong > log_evidence).float().mean()
    return (
        f"mean over {len(x):,} test images {right:.1f} nats; {wrong.mean():.1f} with exp(Σ),"
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
    mean, log_variance = vae.encoder(x)
    constant = math.log(2 * math.pi) * (1 / 64 - 1 / 2)
    value = vae.log_likelihood(mean, x) + log_variance.sum(dim=1) / 2 + constant
    above = (value > log_evidence).float().mean()
    bound = tier.row("vae_evidence")["elbo_mean"]
    return (
        f"{value.mean():.1f} nats, where the bound is {bound:.1f}; above log p(x), so no bound,"
        f" for {above:.0%} of the images"
    )


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
        "(11)",
        "s_j and t_j take and return a number",
        "networks of the masked point, with two outputs, as the stated count of weights needs",
        _count_of_scalar_networks(),
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
        "4.1",
        "it is impossible to determine the tightness of the bound",
        "with two latent dimensions log p(x) is a quadrature",
        lambda tier: f"gap of {tier.row('vae_evidence')['gap_mean']:.2f} nats on average",
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
        "unbiased distance of 10,000 against 10,000 with standard error and permutation test",
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
        "no slip: energy distances of the WGAN after 3,000 steps from random weights, seeds 0 and 1,"
        " 0.33 and 0.38; 0.87 (seed 0) without the batch norms and after the update",
    ),
    Deviation(
        "(32)",
        "the text draws z anew in every step; the code draws it anew in each half of a step",
        "the same; `fresh_latent_points` chooses",
        "no slip: energy distances of the DCGAN after 8,000 steps from random weights, seeds 0 and"
        " 1, 0.49 and 3.9; 5.7 (seed 0) where both halves have the same points",
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
