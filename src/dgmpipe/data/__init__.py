"""The data: two moons with their exact density, and MNIST."""

from dgmpipe.data.fetch import fetch_mnist
from dgmpipe.data.files import load_array
from dgmpipe.data.mnist import load_mnist
from dgmpipe.data.moons import MoonsDensity, sample_moons

__all__ = ["MoonsDensity", "fetch_mnist", "load_array", "load_mnist", "sample_moons"]
