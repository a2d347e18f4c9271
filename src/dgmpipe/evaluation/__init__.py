"""What is measured of trained models."""

from typing import TYPE_CHECKING

from dgmpipe.lazy import lazily

if TYPE_CHECKING:
    from dgmpipe.evaluation.flows import density_grid, inverse_error, latent_gaussianity
    from dgmpipe.evaluation.importance import importance_weighted
    from dgmpipe.evaluation.latent import latent_structure
    from dgmpipe.evaluation.posterior import PosteriorGrid, elbo, log_evidence, posterior_grid
    from dgmpipe.evaluation.quality import sample_quality
    from dgmpipe.evaluation.samples import interpolate, sample_images
    from dgmpipe.statistics.clusters import Clusters
    from dgmpipe.statistics.energy import EnergyTestResult, energy_distance, energy_test

__all__ = [
    "Clusters",
    "EnergyTestResult",
    "PosteriorGrid",
    "density_grid",
    "elbo",
    "energy_distance",
    "energy_test",
    "importance_weighted",
    "interpolate",
    "inverse_error",
    "latent_gaussianity",
    "latent_structure",
    "log_evidence",
    "posterior_grid",
    "sample_images",
    "sample_quality",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Clusters": "dgmpipe.statistics.clusters",
        "EnergyTestResult": "dgmpipe.statistics.energy",
        "PosteriorGrid": "dgmpipe.evaluation.posterior",
        "density_grid": "dgmpipe.evaluation.flows",
        "elbo": "dgmpipe.evaluation.posterior",
        "energy_distance": "dgmpipe.statistics.energy",
        "energy_test": "dgmpipe.statistics.energy",
        "importance_weighted": "dgmpipe.evaluation.importance",
        "interpolate": "dgmpipe.evaluation.samples",
        "inverse_error": "dgmpipe.evaluation.flows",
        "latent_gaussianity": "dgmpipe.evaluation.flows",
        "latent_structure": "dgmpipe.evaluation.latent",
        "log_evidence": "dgmpipe.evaluation.posterior",
        "posterior_grid": "dgmpipe.evaluation.posterior",
        "sample_images": "dgmpipe.evaluation.samples",
        "sample_quality": "dgmpipe.evaluation.quality",
    },
)
