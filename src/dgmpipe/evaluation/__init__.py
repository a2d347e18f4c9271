"""What is measured of trained models."""

from dgmpipe.evaluation.clusters import Clusters
from dgmpipe.evaluation.energy import EnergyTestResult, energy_distance, energy_test
from dgmpipe.evaluation.posterior import PosteriorGrid, posterior_grid

__all__ = [
    "Clusters",
    "EnergyTestResult",
    "PosteriorGrid",
    "energy_distance",
    "energy_test",
    "posterior_grid",
]
