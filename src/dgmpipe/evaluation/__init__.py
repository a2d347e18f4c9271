"""What is measured of trained models."""

from dgmpipe.evaluation.posterior import PosteriorGrid, posterior_grid

__all__ = ["PosteriorGrid", "posterior_grid"]
