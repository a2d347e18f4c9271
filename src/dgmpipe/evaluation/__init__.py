"""What is measured of trained models."""

from dgmpipe.evaluation.posterior import PosteriorGrid, posterior_grid
from dgmpipe.statistics.clusters import Clusters
from dgmpipe.statistics.energy import EnergyTestResult, energy_distance, energy_test

__all__ = [
    "Clusters",
    "EnergyTestResult",
    "PosteriorGrid",
    "energy_distance",
    "energy_test",
    "posterior_grid",
]
